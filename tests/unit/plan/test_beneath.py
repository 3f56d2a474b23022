"""Below an override the plan writes, and the override sees all of it."""

# mypy: disable-error-code="attr-defined,type-arg"

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import celery.app.amqp
import pytest
from celery import Celery, Task, _state, signals
from kombu.exceptions import OperationalError

from celery_async_bridge.core.trampoline import in_trampoline, spawn
from celery_async_bridge.drivers.redis.mux import Mux
from celery_async_bridge.errors import DeliveryUncertain, PublishTimeout
from celery_async_bridge.install import install, uninstall
from celery_async_bridge.mixins.celery._producers import LoopProducers
from celery_async_bridge.plan.plan import READY, states
from tests.unit.plan.conftest import plain
from tests.unit.plan.test_failures import _instead, _lost, _mux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.plan.conftest import Desk


class Watching(Task):
    """Notes what its sends come to."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        seen = self.__dict__.setdefault("seen", [])
        try:
            value = super().apply_async(*args, **kwargs)
        except BaseException as exc:
            seen.append(type(exc))
            raise
        seen.append(value.id)
        return value


@contextmanager
def by_upstream() -> Iterator[list[Any]]:
    """List the producers that sends borrow; a plan needs none."""
    borrowed: list[Any] = []
    acquire = LoopProducers.acquire

    def acquires(self: Any, *args: Any, **kwargs: Any) -> Any:
        borrowed.append(self)
        return acquire(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoopProducers, "acquire", acquires)
        yield borrowed


@pytest.fixture
def task(desk: Desk) -> Any:
    return desk.task("watching", base=Watching)


async def test_it_is_learned_and_writes_the_same(desk: Desk, task: Any) -> None:
    with by_upstream() as borrowed:
        await desk.learned(task)
    assert len(borrowed) == 2
    task.delay(1, y="z")
    with by_upstream() as borrowed:
        result = await task.adelay(1, y="z")
    assert not borrowed
    assert task.seen[-1] == result.id
    theirs, ours = desk.raw()
    assert plain(ours) == plain(theirs)
    (row,) = [row for row in states(task) if row["state"] == READY]
    assert row["options"] == "beneath send_task, ignore_result"


async def test_a_cold_burst_sends_all(desk: Desk, task: Any) -> None:
    results = await asyncio.gather(*[task.adelay(n) for n in range(200)])
    results.append(await task.adelay(0))  # proves it, unless one of them has
    with by_upstream() as borrowed:
        results += await asyncio.gather(*[task.adelay(n) for n in range(700)])
    assert not borrowed
    sent = [one["headers"]["id"] for one in desk.sent()]
    assert set(sent) == {one.id for one in results}
    assert len(sent) == 901


async def test_inside_of_a_task_parent_and_root_are_those_of_upstream(
    desk: Desk, task: Any
) -> None:
    outer = desk.task("outer")
    _state._task_stack.push(outer)
    outer.push_request(children=[], called_directly=False, id="P", root_id="R")
    try:
        await desk.learned(task)
        outer.request.children.clear()
        first = task.delay(1)
        with by_upstream() as borrowed:
            second = await task.adelay(1)
            await task.aapply_async((1,), add_to_parent=False)
        assert len(borrowed) == 1  # the other one is of a shape of its own
        children = [child.id for child in outer.request.children]
        assert children == [first.id, second.id]
    finally:
        outer.pop_request()
        _state._task_stack.pop()
    theirs, ours, _ = desk.raw()
    assert plain(ours) == plain(theirs)
    assert b'"parent_id": "P"' in ours


async def test_any_trampoline_will_do(desk: Desk) -> None:
    """Sync code of others that sends: receivers of signals, callbacks, consumers."""
    for _ in range(2):
        await spawn(lambda: desk.add.delay(1))
        await spawn(lambda: desk.app.send_task("far", (1,)))
    with by_upstream() as borrowed:
        await spawn(lambda: desk.add.delay(1))
        await spawn(lambda: desk.app.send_task("far", (1,)))
    assert not borrowed
    assert len(desk.raw()) == 6
    desk.add.delay(1)  # in no trampoline: upstream, on a socket of its own
    assert len(desk.raw()) == 1


@pytest.mark.skipif(
    not hasattr(celery.app.amqp.AMQP, "_retry_publish"), reason="there is no such way"
)
async def test_what_follows_a_task_is_tried_again_as_upstream_does(
    desk: Desk, task: Any
) -> None:
    await desk.learned(task)
    with by_upstream() as borrowed:
        await spawn(lambda: desk.app.amqp._retry_publish(task.delay, 1))
    assert borrowed


async def test_a_receiver_that_sends_uses_plans_of_its_own(
    desk: Desk, task: Any
) -> None:
    def also(sender: Any = None, **_: Any) -> None:
        if sender == "watching":
            assert in_trampoline()
            desk.add.delay(1)

    await desk.learned(task)
    signals.before_task_publish.connect(also, weak=False)
    try:
        for _ in range(2):
            await task.adelay(1)
        with by_upstream() as borrowed:
            await task.adelay(1)
    finally:
        signals.before_task_publish.disconnect(also)
    assert not borrowed
    names = [one["headers"]["task"] for one in desk.sent()]
    assert names == ["add", "watching"] * 3


@pytest.mark.parametrize("uncertain", [True, False])
@pytest.mark.parametrize("heard", [True, False])
async def test_a_failed_attempt_is_retried_within_the_override(
    desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch, uncertain: bool, heard: bool
) -> None:
    await desk.learned(task)
    told: list[str] = []

    def tell(headers: Any, **_: Any) -> None:
        told.append(headers["id"])

    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=uncertain), 1))
    for signal in (signals.before_task_publish, signals.after_task_publish) * heard:
        signal.connect(tell, weak=False)
    try:
        result = await task.adelay(1, y=2)
    finally:
        for signal in (signals.before_task_publish, signals.after_task_publish):
            signal.disconnect(tell)
    assert told == [result.id] * 2 * heard
    assert task.seen[-1] == result.id
    assert [one["headers"]["id"] for one in desk.sent()] == [result.id]


async def test_an_override_sees_what_cannot_be_sent(
    desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned(task, retry=False)
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=False), 1))
    with pytest.raises(OperationalError, match="gone"):
        await task.aapply_async((1,), retry=False)
    assert task.seen[-1] is OperationalError
    assert desk.raw() == []


async def test_an_uncertain_send_is_not_repeated_unless_wanted(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(async_retry_uncertain=False)
    task = desk.task("watching", base=Watching)
    await desk.learned(task)
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=True), 1))
    with pytest.raises(DeliveryUncertain) as caught:
        await task.aapply_async((1,), task_id="known")
    assert (caught.value.task_id, caught.value.uncertain) == ("known", True)
    assert task.seen[-1] is DeliveryUncertain
    monkeypatch.setattr(Mux, "push", _instead(_lost(uncertain=False), 1))
    await task.adelay(1)
    assert len(desk.raw()) == 1


async def test_the_deadline_of_the_call_ends_the_wait(
    desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned(task)
    mux = _mux()
    monkeypatch.setattr(mux, "limit", 0)
    with pytest.raises(PublishTimeout) as caught:
        await task.aapply_async((1,), publish_timeout=0.1)
    assert not caught.value.uncertain  # it waited for room
    monkeypatch.setattr(mux, "limit", 512)
    mux._admit()
    monkeypatch.setattr(Mux, "push", _instead(None, 1))
    with pytest.raises(PublishTimeout) as caught:
        await task.aapply_async((1,), task_id="known", publish_timeout=1)
    assert (caught.value.task_id, caught.value.uncertain) == ("known", True)
    assert task.seen[-2:] == [asyncio.CancelledError] * 2
    await task.adelay(2)
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


async def test_cancelled_before_the_write_nothing_is_sent(
    desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned(task)
    push, pushed = Mux.push, asyncio.Event()

    def pushes(self: Any, data: bytes) -> Any:
        pushed.set()
        sending.cancel()  # in the very turn: nothing has left
        return push(self, data)

    monkeypatch.setattr(Mux, "push", pushes)
    sending = asyncio.ensure_future(task.adelay(1))
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert pushed.is_set()
    monkeypatch.setattr(Mux, "push", push)
    await task.adelay(2)
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


async def test_a_coroutine_that_is_closed_unwinds(
    desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned(task)
    monkeypatch.setattr(Mux, "push", _instead(None, 1))
    sending = spawn(lambda: task.delay(1))
    sending.send(None)
    sending.close()
    assert task.seen[-1] is GeneratorExit
    await task.adelay(2)
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


def test_every_loop_learns_its_own_connection(desk: Desk, task: Any) -> None:
    async def sends() -> None:
        for number in range(3):
            await task.adelay(number)

    for _ in range(3):
        asyncio.run(sends())
    assert len(desk.raw()) == 9


# -- what lies on top, and what lies beneath -------------------------------------------


def _patched(calls: list[Any], function: Any) -> Callable[..., Any]:
    def patched(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return function(*args, **kwargs)

    return patched


@pytest.mark.parametrize(
    ("owner", "name"), [(Task, "apply_async"), (Celery, "send_task")], ids=str
)
async def test_a_patch_on_top_is_run_once_for_each_send(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(owner, name, _patched(calls, vars(owner)[name]))
    await desk.learned()
    with by_upstream() as borrowed:
        await desk.add.adelay(1)
    assert not borrowed
    assert len(calls) == 3
    desk.add.delay(1)
    assert len(calls) == 4


async def test_a_patch_that_was_there_before_is_not_gone_around(desk: Desk) -> None:
    calls: list[Any] = []
    uninstall()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Celery, "send_task", _patched(calls, Celery.send_task))
            install()
            for number in range(4):
                await desk.add.adelay(number)
            assert len(calls) == 4
            uninstall()
    finally:
        install()
    assert len(desk.raw()) == 4


async def test_a_patch_stays_when_the_bridge_goes_and_comes(desk: Desk) -> None:
    calls: list[Any] = []
    seam = vars(Celery)["send_task"]
    patched = _patched(calls, seam)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Celery, "send_task", patched)
            uninstall()
            assert vars(Celery)["send_task"] is patched
            desk.add.delay(1)
            install()
            await desk.learned()
            with by_upstream() as borrowed:
                await desk.add.adelay(1)
            assert not borrowed
            assert len(calls) == 4
            uninstall()
        # The tracer has gone last, and has put back what it found: it does nothing.
        assert vars(Celery)["send_task"] is seam
        with by_upstream() as borrowed:
            await spawn(lambda: desk.add.delay(1))
        assert borrowed == []
        install()
        with by_upstream() as borrowed:
            await desk.add.adelay(1)
        assert not borrowed
        uninstall()
    finally:
        Celery.send_task = seam.__wrapped__  # type: ignore[method-assign]
        install()
