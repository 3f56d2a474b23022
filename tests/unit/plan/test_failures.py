"""What becomes of a send whose connection fails."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from kombu.exceptions import OperationalError

from celery_async_bridge.drivers.redis.mux import Mux, muxes
from celery_async_bridge.errors import DeliveryUncertain, PublishTimeout
from tests.unit.plan.conftest import by_upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.plan.conftest import Desk


def _mux() -> Mux:
    (found,) = [mux for mux in muxes() if mux.up]
    return found


def _instead(error: Exception | None, times: int) -> Callable[[Any, bytes], Any]:
    """A `push` that fails so often, or never answers."""
    push = Mux.push
    left = [times]

    def pushes(self: Any, data: bytes) -> Any:
        if not left[0]:
            return push(self, data)
        left[0] -= 1
        future = asyncio.get_running_loop().create_future()
        if error is not None:
            future.set_exception(error)
        return future

    return pushes


def _lost(*, uncertain: bool) -> Exception:
    from celery_async_bridge.drivers.redis.link import lost

    return lost("gone", uncertain=uncertain)


@pytest.mark.parametrize("uncertain", [True, False])
async def test_a_failed_attempt_is_retried_by_upstream(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, uncertain: bool
) -> None:
    await desk.learned()
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=uncertain), 1))
    after: list[Any] = []
    result = await desk.add.adelay(1, y=2)
    (message,) = desk.sent()
    assert message["headers"]["id"] == result.id
    assert message["headers"]["argsrepr"] == "(1,)"

    def receive(headers: Any, **_: Any) -> None:
        after.append(headers["id"])

    # With receivers: told once, with the same message.
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=uncertain), 1))
    signals.before_task_publish.connect(receive, weak=False)
    signals.after_task_publish.connect(receive, weak=False)
    try:
        result = await desk.add.adelay(1, y=2)
    finally:
        signals.before_task_publish.disconnect(receive)
        signals.after_task_publish.disconnect(receive)
    assert after == [result.id, result.id]
    assert [one["headers"]["id"] for one in desk.sent()] == [result.id]


async def test_without_retries_the_failure_is_raised(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned(retry=False)
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=False), 1))
    with pytest.raises(OperationalError, match="gone"):
        await desk.add.aapply_async((1,), retry=False)
    assert desk.raw() == []


async def test_an_answer_of_the_server_is_raised_as_upstream_raises_it(
    desk: Desk,
) -> None:
    policy = {"max_retries": 1, "interval_start": 0}
    desk.app.conf.task_publish_retry_policy = policy
    await desk.learned()
    key = f"{desk.prefix}{desk.queue}"
    desk.client.set(key, "no list")
    try:
        with pytest.raises(Exception, match="WRONGTYPE") as theirs:
            desk.add.delay(1)
        with pytest.raises(Exception, match="WRONGTYPE") as ours:
            await desk.add.adelay(1)
    finally:
        desk.client.delete(key)
    assert type(ours.value) is type(theirs.value)
    await desk.add.adelay(2)
    assert len(desk.raw()) == 1


async def test_an_uncertain_send_is_not_repeated_unless_wanted(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(async_retry_uncertain=False)
    await desk.learned()
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=True), 1))
    with pytest.raises(DeliveryUncertain) as caught:
        await desk.add.aapply_async((1,), task_id="known")
    assert (caught.value.task_id, caught.value.uncertain) == ("known", True)
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=False), 1))
    await desk.add.adelay(1)
    assert len(desk.raw()) == 1


async def test_the_first_send_of_all_names_its_task_when_it_fails(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, push = make_desk(async_retry_uncertain=False), Mux.push

    def pushes(self: Any, data: bytes) -> Any:
        if b"LPUSH" not in data:
            return push(self, data)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(_lost(uncertain=True))
        return future

    monkeypatch.setattr(Mux, "push", pushes)
    with pytest.raises(DeliveryUncertain) as caught:
        await desk.add.aapply_async((1,), task_id="known")
    assert caught.value.task_id == "known"


@pytest.mark.parametrize("by_setting", [True, False])
async def test_a_deadline_ends_the_wait_for_the_reply(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch, by_setting: bool
) -> None:
    desk = make_desk(**({"async_publish_timeout": 0.15} if by_setting else {}))
    given = {} if by_setting else {"publish_timeout": 0.15}
    await desk.learned()
    monkeypatch.setattr(Mux, "push", _instead(None, 3))
    began = time.monotonic()
    sends = [desk.add.aapply_async((1,), task_id=f"t{n}", **given) for n in range(3)]
    found = await asyncio.gather(*sends, return_exceptions=True)
    assert time.monotonic() - began < 1
    for number, error in enumerate(found):
        assert isinstance(error, PublishTimeout)
        assert (error.task_id, error.uncertain) == (f"t{number}", True)
        assert error.seconds == 0.15
    await desk.add.adelay(1)
    assert len(desk.raw()) == 1


async def test_a_deadline_ends_the_wait_for_room(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(async_publish_timeout=0.15)
    await desk.learned()
    mux = _mux()
    monkeypatch.setattr(mux, "limit", 0)
    with pytest.raises(PublishTimeout) as caught:
        await desk.add.adelay(1)
    assert not caught.value.uncertain
    task = asyncio.ensure_future(desk.add.adelay(2))
    await asyncio.sleep(0.01)
    monkeypatch.setattr(mux, "limit", 512)
    mux._admit()
    await task
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


async def test_a_new_connection_is_opened_and_declared_by_upstream(desk: Desk) -> None:
    await desk.learned()
    mux = _mux()
    assert mux._link is not None
    mux._link.abort()
    await asyncio.sleep(0.05)
    assert not mux.up
    with by_upstream() as written:
        results = await asyncio.gather(*[desk.add.adelay(n) for n in range(50)])
    assert "SADD" in {command[0] for command in written}
    assert len({one.id for one in results}) == len(desk.raw()) == 50
    assert mux.generation == 2


async def _after_a_loss(desk: Desk, count: int) -> int:
    """Have the connection lost under so many sends; return how many upstream wrote."""
    await desk.learned()
    link: Any = _mux()._link
    with by_upstream() as written:
        sends = [asyncio.ensure_future(desk.add.adelay(n)) for n in range(count)]
        link.abort()
        results = await asyncio.gather(*sends)
    ids = {message["headers"]["id"] for message in desk.sent()}
    assert ids == {result.id for result in results}
    return sum(command[0] == "LPUSH" for command in written)


async def test_behind_those_that_upstream_resumes_the_others_go_by_plan(
    desk: Desk,
) -> None:
    assert 0 < await _after_a_loss(desk, 300) <= 64


async def test_a_policy_of_one_retry_leaves_it_to_upstream(make_desk: Any) -> None:
    desk = make_desk(task_publish_retry_policy={"max_retries": 1, "interval_start": 0})
    assert await _after_a_loss(desk, 100) == 100
