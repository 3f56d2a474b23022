from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from celery_async_bridge.core.conversation import current_conversation
from celery_async_bridge.core.dispatch import is_native, perform, stream, talk
from celery_async_bridge.core.registry import arm, forget, is_armed, register
from celery_async_bridge.core.route import Endpoint, Route
from celery_async_bridge.core.taps import in_flight, outcome, retries_uncertain
from celery_async_bridge.core.trampoline import await_, in_trampoline
from tests.unit.core.help import SOON, Blocking, Late, route, until


class Native:
    """A driver that claims the broker side of a scheme."""

    name = "test"
    sides = frozenset({"broker"})
    waits = sides
    pushes = frozenset[str]()
    suspends = False

    def takes(self, endpoint: Endpoint) -> bool:
        return bool(endpoint.target != "polled")

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        raise NotImplementedError

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        raise NotImplementedError

    def feed(self, backend: Any, key: Any, looks: Any) -> Any: ...

    def status(self) -> list[dict[str, Any]]:
        return []

    def install(self) -> Any:
        return ()


@pytest.fixture
def native() -> Iterator[Route]:
    before = is_armed()
    register("dispatchtest", Native())
    arm(True)
    yield Route((Endpoint("broker", "dispatchtest", "key", "label"),), expired=Late)
    arm(before)
    forget("dispatchtest")


def test_a_driver_waits_for_the_seams(native: Route) -> None:
    assert is_native(native)
    arm(False)
    assert not is_native(native)


class Answering(Native):
    """One that answers calls, but waits in threads."""

    waits = frozenset[str]()
    suspends = True


def test_waiting_has_a_tier_of_its_own(native: Route) -> None:
    assert is_native(native, waiting=True)
    register("dispatchtest", Answering())
    assert is_native(native)
    assert not is_native(native, waiting=True)


def test_a_driver_may_refuse_an_object(native: Route) -> None:
    (endpoint,) = native.endpoints
    polled = replace(native, endpoints=(replace(endpoint, target="polled"),))
    assert not is_native(polled)


async def test_calls_that_suspend_take_turns_on_an_object(native: Route) -> None:
    class Guard:
        pass

    register("dispatchtest", Answering())
    guarded = replace(native, guard=Guard())
    running: list[int] = []
    most: list[int] = []

    def call() -> None:
        running.append(1)
        most.append(len(running))
        pause(0.001)
        running.pop()

    await asyncio.gather(*(perform(guarded, call) for _ in range(5)))
    assert max(most) == 1
    most.clear()
    await asyncio.gather(*(perform(native, call) for _ in range(5)))
    assert max(most) > 1


async def test_a_turn_that_does_not_come_is_certain(native: Route) -> None:
    class Guard:
        pass

    register("dispatchtest", Answering())
    guarded = replace(native, guard=Guard())
    began, end = asyncio.Event(), asyncio.Event()

    def hold() -> None:
        began.set()
        await_(end.wait())

    first = asyncio.ensure_future(perform(guarded, hold))
    await began.wait()
    with pytest.raises(Late) as caught:
        await perform(guarded, lambda: None, deadline=0.05)
    assert not caught.value.expired.uncertain
    end.set()
    await first


class Nothing(Exception):
    pass


def pause(seconds: float) -> None:
    """Wait as upstream does where the seams are in place."""
    if in_trampoline():
        await_(asyncio.sleep(seconds))
        return
    conversation = current_conversation()
    assert conversation is not None
    conversation.sleep(seconds)


@pytest.fixture(params=["native", "thread"])
def way(request: pytest.FixtureRequest) -> Route:
    if request.param == "thread":
        return route()
    found: Route = request.getfixturevalue("native")
    return found


def test_native_means_every_server(native: Route) -> None:
    (endpoint,) = native.endpoints
    assert is_native(native)
    backend = Endpoint("backend", "dispatchtest", "key", "label")
    assert not is_native(Route((endpoint, backend)))
    assert not is_native(Route((endpoint, *route().endpoints)))
    assert not is_native(Route(()))


async def test_where_a_call_runs(native: Route) -> None:
    here = threading.get_ident()
    for run in (perform, talk):
        assert await run(native, threading.get_ident) == here
        assert await run(native, in_trampoline) is True
        assert await run(route(), threading.get_ident) != here
        assert await run(route(), in_trampoline) is False


async def test_deadline(way: Route) -> None:
    assert await perform(way, lambda: 3, deadline=20) == 3
    began = time.monotonic()
    with pytest.raises(Late) as caught:
        await perform(way, lambda: pause(60), deadline=SOON)
    assert SOON - 0.01 < time.monotonic() - began < 30
    assert caught.value.expired.uncertain
    task = asyncio.current_task()
    assert task is not None
    if hasattr(task, "cancelling"):
        assert task.cancelling() == 0
    await asyncio.sleep(0.15)  # no late cancellation


async def test_deadline_does_not_swallow_a_cancellation(native: Route) -> None:
    began = asyncio.Event()

    def slow() -> None:
        began.set()
        try:
            pause(60)
        finally:
            pause(SOON + 0.2)

    call = asyncio.ensure_future(perform(native, slow, deadline=SOON))
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_context_of_a_bounded_native_call_is_the_callers(native: Route) -> None:
    import contextvars

    var: contextvars.ContextVar[int] = contextvars.ContextVar("var")
    await perform(native, lambda: var.set(3), deadline=1)
    assert var.get() == 3


def numbers(log: list[str]) -> Iterator[int]:
    try:
        for number in range(3):
            pause(0.01)
            yield number
    finally:
        log.append("closed")


async def test_a_stream_gives_all_values(way: Route) -> None:
    log: list[str] = []
    assert [n async for n in stream(way, lambda: numbers(log))] == [0, 1, 2]
    assert log == ["closed"]
    assert [n async for n in stream(way, lambda: iter([None, 1]))] == [None, 1]


async def test_a_stream_that_is_left_is_closed(way: Route) -> None:
    log: list[str] = []
    values: Any = stream(way, lambda: numbers(log))
    async for _ in values:
        break
    assert log == []
    await values.aclose()
    assert log == ["closed"]


async def test_an_error_in_a_stream(way: Route) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    values = stream(way, broken)
    assert await values.__anext__() == 1
    with pytest.raises(KeyError, match="broken"):
        await values.__anext__()


async def test_a_cancelled_stream_unwinds_its_generator(way: Route) -> None:
    log: list[str] = []

    began: list[int] = []

    def endless() -> Iterator[int]:
        try:
            yield 1
            began.append(1)
            pause(100)
        finally:
            log.append("closed")

    async def read() -> None:
        async for _ in stream(way, endless):
            pass

    reading = asyncio.ensure_future(read())
    await until(lambda: began)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: log == ["closed"])


async def test_cancelling_a_stream_that_a_thread_cannot_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The generator still runs, so it cannot be closed: the cancellation counts."""
    from celery_async_bridge.core import offload

    monkeypatch.setattr(offload, "GRACE", 0.05)
    blocking, log = Blocking(), []

    def stubborn() -> Iterator[int]:
        try:
            blocking()
            yield 1
        finally:
            log.append("closed")

    async def read() -> None:
        async for _ in stream(route(), stubborn):
            pass

    reading = asyncio.ensure_future(read())
    await blocking.running()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    blocking.end.set()
    await until(lambda: log)


async def test_no_thread_is_held_between_two_values() -> None:
    from celery_async_bridge.core.lane import lane_for

    way = route(threads=1)
    lane = lane_for(("wait", way.endpoints[0].key), "test", 1)
    async for _ in stream(way, lambda: numbers([])):
        await until(lambda: not lane.status()["running"])
        assert await talk(way, lambda: 1) == 1


async def test_a_call_that_waits_again_after_its_deadline_ends_all_the_same(
    native: Route,
) -> None:
    ended: list[str] = []

    def stubborn() -> None:
        try:
            pause(60)
        finally:
            try:
                pause(60)
            finally:
                ended.append("both")

    with pytest.raises(Late):
        await asyncio.wait_for(perform(native, stubborn, deadline=0.05), 30)
    assert ended == ["both"]
    task = asyncio.current_task()
    assert task is not None
    assert not getattr(task, "cancelling", lambda: 0)()


async def test_a_call_that_swallows_its_deadline_leaves_no_cancellation_behind(
    native: Route,
) -> None:
    def swallow() -> str:
        try:
            pause(60)
        except asyncio.CancelledError:
            return "late"
        return "early"

    assert await asyncio.wait_for(perform(native, swallow, deadline=0.05), 30) == "late"
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert not getattr(task, "cancelling", lambda: 0)()


async def test_a_deadline_is_certain_as_long_as_the_driver_has_no_doubt(
    native: Route,
) -> None:
    register("dispatchtest", Answering())

    def doubtful() -> None:
        known = outcome.get()
        assert known is not None
        known.uncertain = True
        pause(60)

    for call, uncertain in ((lambda: pause(60), False), (doubtful, True)):
        with pytest.raises(Late) as caught:
            await perform(native, call, deadline=0.05)
        assert caught.value.expired.uncertain is uncertain
    assert outcome.get() is None


async def test_the_driver_sees_the_settings_of_the_route(native: Route) -> None:
    register("dispatchtest", Answering())
    way = replace(native, retries_uncertain=False, in_flight=7)
    seen = await perform(way, lambda: (retries_uncertain.get(), in_flight.get()))
    assert seen == (False, 7)
    assert (retries_uncertain.get(), in_flight.get()) == (True, 512)
