"""Receivers see what they see of a sync send, and what they change is sent."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals

from celery_async_bridge.testing.tripwire import tripwire
from tests.unit.plan.conftest import by_upstream, plain

if TYPE_CHECKING:
    from tests.unit.plan.conftest import Desk

BEFORE, AFTER, SENT = (
    signals.before_task_publish,
    signals.after_task_publish,
    signals.task_sent,
)


@contextmanager
def _connected(signal: Any, receive: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receive, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receive)


def _steady(value: Any, task_id: str) -> Any:
    return repr(value).replace(task_id, "ID")


@pytest.mark.parametrize("cold", [True, False], ids=["learned with", "learned without"])
async def test_they_get_the_same_in_the_same_order(desk: Desk, cold: bool) -> None:
    seen: list[tuple[str, Any]] = []

    def receiver(name: str) -> Any:
        def receive(**named: Any) -> None:
            named.pop("signal")
            lengths = desk.client.llen(f"{desk.prefix}{desk.queue}")
            seen.append((name, lengths, copy.copy(named)))  # type: ignore[arg-type]

        return receive

    options: dict[str, Any] = {"priority": 0, "headers": {"a": 1}}
    if not cold:
        await desk.learned(**options)
    with (
        _connected(BEFORE, receiver("before")),
        _connected(AFTER, receiver("after")),
        _connected(SENT, receiver("sent")),
    ):
        if cold:
            await desk.learned(**options)
        seen.clear()
        expected = desk.add.apply_async((1,), {"y": 2}, **options)
        theirs = [_steady(one, expected.id) for one in seen]
        desk.raw()
        seen.clear()
        with by_upstream() as written:
            result = await desk.add.aapply_async((1,), {"y": 2}, **options)
        # The receivers look at the queue, and do so on the loop.
        assert {command[0] for command in written} == {"LLEN"}
        assert [_steady(one, result.id) for one in seen] == theirs
    assert len(theirs) == 3


@pytest.mark.parametrize("cold", [True, False], ids=["learned with", "learned without"])
async def test_headers_that_they_add_are_sent(desk: Desk, cold: bool) -> None:
    count = 0

    def trace(headers: dict[str, Any], **_: Any) -> None:
        nonlocal count
        count += 1
        headers["traceparent"] = f"00-{count}"
        headers["timelimit"][0] = count

    if not cold:
        await desk.learned()
    with _connected(BEFORE, trace):
        for _ in range(4):
            await desk.add.adelay(1)
        if not cold:
            with by_upstream() as written:
                await desk.add.adelay(1)
            assert not written
    sent = desk.sent()
    assert [one["headers"]["traceparent"] for one in sent] == [
        f"00-{n + 1}" for n in range(len(sent))
    ]
    assert [one["headers"]["timelimit"][0] for one in sent] == [
        n + 1 for n in range(len(sent))
    ]
    # Nothing of it stays.
    await desk.add.adelay(1)
    assert desk.sent()[0]["headers"]["timelimit"] == [None, None]


def _priority(properties: dict[str, Any], **_: Any) -> None:
    properties["priority"] = 6


def _correlation(properties: dict[str, Any], **_: Any) -> None:
    properties["correlation_id"] = "other"


def _more(properties: dict[str, Any], **_: Any) -> None:
    properties["user_id"] = "me"


def _body(body: Any, **_: Any) -> None:
    body[1]["y"] = "changed"
    body[2]["chain"] = []


def _declare(declare: list[Any], **_: Any) -> None:
    declare.clear()


def _policy(retry_policy: dict[str, Any], **_: Any) -> None:
    retry_policy["max_retries"] = 0


def _equal(headers: dict[str, Any], **_: Any) -> None:
    headers["retries"] = False  # equal to 0, and not the same JSON


def _equal_property(properties: dict[str, Any], **_: Any) -> None:
    properties["priority"] = False


def _equal_in_place(headers: dict[str, Any], **_: Any) -> None:
    headers["timelimit"][:] = [30.0, True]


def _stamps(headers: dict[str, Any], **_: Any) -> None:
    headers["stamps"]["a"] = {"b": [1]}


def _order(headers: dict[str, Any], **_: Any) -> None:
    headers["lang"] = headers.pop("lang")
    headers["new"] = 1


def _gone(headers: dict[str, Any], **_: Any) -> None:
    del headers["stamps"]
    headers["instead"] = {}


def _other_id(headers: dict[str, Any], **_: Any) -> None:
    headers["root_id"] = "other"


def _eta(headers: dict[str, Any], **_: Any) -> None:
    headers["eta"] = "2099-01-01T00:00:00+00:00"


def _extra(headers: dict[str, Any], **_: Any) -> None:
    headers |= {"baggage": 'ö "quoted" %s', "n": [1.5, None, {"a": True}]}
    headers[7] = 8  # type: ignore[index]


def _raises(**_: Any) -> None:
    raise ValueError("a receiver that fails")


@pytest.mark.parametrize(
    "receive",
    [
        _priority,
        _correlation,
        _more,
        _body,
        _declare,
        _policy,
        _equal,
        _equal_property,
        _equal_in_place,
        _stamps,
        _order,
        _gone,
        _other_id,
        _eta,
        _extra,
        _raises,
    ],
)
@pytest.mark.parametrize("cold", [True, False], ids=["learned with", "learned without"])
async def test_what_they_change_is_what_is_sent(
    desk: Desk, receive: Any, cold: bool
) -> None:
    limits = {} if receive is not _equal_in_place else {"time_limit": 30}
    if limits:
        limits["soft_time_limit"] = 1
    if not cold:
        await desk.learned(**limits)
    with _connected(BEFORE, receive):
        if cold:
            await desk.learned(**limits)
        desk.add.apply_async((1,), {"y": 2}, **limits)
        await desk.add.aapply_async((1,), {"y": 2}, **limits)
    theirs, ours = desk.raw()
    assert plain(ours) == plain(theirs)


async def test_what_cannot_be_encoded_raises_what_upstream_raises(desk: Desk) -> None:
    def spoil(headers: dict[str, Any], **_: Any) -> None:
        headers["odd"] = object()

    calls: list[Any] = []
    await desk.learned()
    with _connected(BEFORE, spoil), _connected(AFTER, lambda **kw: calls.append(kw)):
        with pytest.raises(TypeError) as theirs:
            desk.add.delay(1)
        with pytest.raises(TypeError) as ours:
            await desk.add.adelay(1)
    assert type(ours.value) is type(theirs.value)
    assert calls == []
    assert desk.raw() == []


async def test_after_a_cancellation_nobody_is_told_that_it_was_sent(desk: Desk) -> None:
    told: list[str] = []
    await desk.learned()
    with (
        _connected(BEFORE, lambda **_: told.append("before")),
        _connected(AFTER, lambda **_: told.append("after")),
    ):
        task = asyncio.ensure_future(desk.add.adelay(1))
        await asyncio.sleep(0)
        assert told == ["before"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await desk.add.adelay(2)
    assert told == ["before", "before", "after"]
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


async def test_they_run_in_the_context_of_the_caller(desk: Desk) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("span")

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["span"] = variable.get()
        variable.set("from the receiver")

    await desk.learned()
    with _connected(BEFORE, trace):
        variable.set("of the caller")
        await desk.add.adelay(1)
    assert desk.sent()[0]["headers"]["span"] == "of the caller"
    assert variable.get() == "from the receiver"


async def test_a_receiver_that_sends_does_not_block_the_loop(desk: Desk) -> None:
    other = desk.task("other")

    def send(sender: str, **_: Any) -> None:
        if sender == "add":
            other.delay("from a receiver")

    await desk.learned()
    with (
        _connected(BEFORE, send),
        _connected(AFTER, send),
        tripwire(),
        by_upstream() as written,
    ):
        await desk.add.adelay(1)
    assert len([one for one in written if one[0] == "LPUSH"]) == 2
    tasks = [one["headers"]["task"] for one in desk.sent()]
    assert tasks == ["other", "add", "other"]
