from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from celery_async_bridge.core import lane as lane_module
from celery_async_bridge.core import offload as offload_module
from celery_async_bridge.core.carry import register_carrier, unregister_carrier
from celery_async_bridge.core.conversation import Interrupted, current_conversation
from celery_async_bridge.core.lane import Lane, lane_for
from celery_async_bridge.core.offload import converse, offload
from celery_async_bridge.core.route import Route
from celery_async_bridge.core.turn import turn_of
from tests.unit.core.help import SOON, Blocking, Late, route, run, until

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


class Guard:
    pass


class Nothing(Exception):
    pass


def lane(way: Route, role: str = "call") -> Lane:
    return lane_for((role, way.endpoints[0].key), "test", way.threads)


def forever(seconds: float) -> None:
    time.sleep(seconds)
    raise Nothing


def wait_for_ever() -> None:
    talk = current_conversation()
    assert talk is not None
    talk.sliced(forever, None, Nothing)


# -- one call ----------------------------------------------------------------


async def test_result_and_exception() -> None:
    way = route()
    assert await offload(way, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await offload(way, lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await offload(way, lambda: next(iter(())))
    assert lane(way).status()["threads"] == 1


async def test_context_goes_there_and_comes_back() -> None:
    def see() -> str:
        seen = VAR.get()
        VAR.set("by thread")
        return seen

    VAR.set("by caller")
    assert await offload(route(), see) == "by caller"
    assert VAR.get() == "by thread"


async def test_carriers_are_asked_here_and_entered_there() -> None:
    seen: list[int] = []

    def carrier() -> Any:
        seen.append(threading.get_ident())

        @contextmanager
        def enter() -> Any:
            seen.append(threading.get_ident())
            yield

        return enter

    register_carrier(carrier)
    try:
        there = await offload(route(), threading.get_ident)
    finally:
        unregister_carrier(carrier)
    assert seen == [threading.get_ident(), there]


async def test_equal_pins_share_one_thread_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Upstream names reply queues after threads."""
    monkeypatch.setattr(lane_module, "IDLE", 0.02)
    pin = object()
    idents = set()
    for _ in range(3):
        idents |= set(
            await asyncio.gather(
                *(offload(route(pin=pin), threading.get_ident) for _ in range(5)),
                converse(route(pin=pin), threading.get_ident),
            )
        )
        await asyncio.sleep(0.05)
    assert len(idents) == 1


async def test_sensitive_calls_share_asgirefs_thread() -> None:
    from asgiref.sync import sync_to_async

    theirs = await sync_to_async(threading.get_ident, thread_sensitive=True)()
    assert await offload(route(sensitive=True), threading.get_ident) == theirs


# -- deadlines ---------------------------------------------------------------


async def test_deadline_of_a_call_that_has_started() -> None:
    way, call = route(threads=3), Blocking()
    with pytest.raises(Late) as caught:
        await offload(way, call, deadline=SOON)
    expired = caught.value.expired
    assert expired.uncertain is True
    assert (expired.seconds, expired.stuck, expired.limit) == (SOON, 1, 3)
    assert expired.label == way.label
    assert lane(way).stuck == 1
    call.end.set()
    await until(lambda: lane(way).stuck == 0)


async def test_deadline_of_a_call_that_found_no_thread() -> None:
    way, call = route(threads=1), Blocking()
    first = asyncio.ensure_future(offload(way, call))
    await call.running()
    ran: list[int] = []
    with pytest.raises(Late) as caught:
        await offload(way, lambda: ran.append(1), deadline=0.05)
    assert caught.value.expired.uncertain is False
    assert caught.value.expired.stuck == 0
    call.end.set()
    assert await first
    await offload(way, lambda: None)
    assert ran == []


async def test_deadline_counts_from_the_queue_for_the_turn() -> None:
    guard = Guard()
    way, call = route(guard=guard), Blocking()
    await turn_of(guard).acquire()
    late = asyncio.ensure_future(offload(way, call, deadline=2 * SOON))
    await asyncio.sleep(SOON)
    turn_of(guard).release()
    released = time.monotonic()
    with pytest.raises(Late) as caught:
        await late
    assert caught.value.expired.uncertain is True
    # Half of it is left. Counted from here, it would take all of it.
    assert time.monotonic() - released < 2 * SOON
    call.end.set()


async def test_deadline_of_a_call_that_did_not_get_its_turn() -> None:
    guard = Guard()
    await turn_of(guard).acquire()
    ran: list[int] = []
    with pytest.raises(Late) as caught:
        await offload(route(guard=guard), lambda: ran.append(1), deadline=0.05)
    assert caught.value.expired.uncertain is False
    turn_of(guard).release()
    await offload(route(guard=guard), lambda: None, deadline=20)
    assert ran == []


async def test_deadline_that_is_kept_leaves_nothing_behind() -> None:
    way = route()
    assert await offload(way, lambda: 3, deadline=SOON) == 3
    await asyncio.sleep(SOON + 0.05)
    assert lane(way).stuck == 0


async def test_an_expired_call_stops_at_its_next_pause() -> None:
    """A publish that retries for ever must not do so for nobody."""
    way = route()
    ended: list[str] = []

    def retries() -> None:
        talk = current_conversation()
        assert talk is not None
        try:
            while True:
                talk.sleep(0.02)
        except Interrupted:
            ended.append("interrupted")
            raise

    with pytest.raises(Late):
        await offload(way, retries, deadline=SOON)
    await until(lambda: ended)
    await until(lambda: lane(way).stuck == 0)


# -- cancellation ------------------------------------------------------------


async def test_cancelled_before_a_thread_was_free_it_never_runs() -> None:
    way, call = route(threads=1), Blocking()
    first = asyncio.ensure_future(offload(way, call))
    await call.running()
    ran: list[int] = []
    second = asyncio.ensure_future(offload(way, lambda: ran.append(1)))
    await until(lambda: lane(way).status()["queued"] == 1)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert lane(way).status()["queued"] == 0
    call.end.set()
    await first
    await offload(way, lambda: None)
    assert ran == []


async def test_cancelled_before_it_had_its_turn_it_never_runs() -> None:
    guard = Guard()
    await turn_of(guard).acquire()
    ran: list[int] = []
    call = asyncio.ensure_future(offload(route(guard=guard), lambda: ran.append(1)))
    await until(lambda: turn_of(guard).wanted)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    turn_of(guard).release()
    await turn_of(guard).acquire(20)
    assert ran == []


async def test_cancelled_later_it_is_stuck_until_it_ends() -> None:
    way, blocking = route(), Blocking()
    call = asyncio.ensure_future(offload(way, blocking))
    await blocking.running()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The caller has gone on although the thread has not.
    assert lane(way).stuck == 1
    blocking.end.set()
    await until(lambda: lane(way).stuck == 0)


async def test_the_turn_comes_back_when_the_thread_lets_go_and_not_before() -> None:
    guard = Guard()
    way, blocking = route(guard=guard), Blocking()
    call = asyncio.ensure_future(offload(way, blocking))
    await blocking.running()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(Late) as caught:
        await offload(way, lambda: 1, deadline=0.05)
    assert caught.value.expired.uncertain is False
    blocking.end.set()
    assert await offload(way, lambda: 2, deadline=20) == 2


async def test_a_value_that_nobody_receives_is_taken_back() -> None:
    way, blocking = route(), Blocking()
    undone: list[int] = []

    def make() -> int:
        blocking()
        return 3

    call = asyncio.ensure_future(offload(way, make, undo=undone.append))
    await blocking.running()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert undone == []
    blocking.end.set()
    await until(lambda: undone == [3])
    blocking.end.clear()
    with pytest.raises(Late):
        await offload(way, make, undo=undone.append, deadline=SOON)
    blocking.end.set()
    await until(lambda: undone == [3, 3])


async def test_every_value_is_received_or_taken_back() -> None:
    """Cancelled at every possible moment: what was made is not lost."""
    way = route(threads=4)
    made: list[int] = []
    kept: list[int] = []
    undone: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    async def one(number: int) -> None:
        call = asyncio.ensure_future(
            offload(way, lambda: make(number), undo=undone.append)
        )
        for _ in range(number % 7):
            await asyncio.sleep(0)
        if number % 3:
            time.sleep(0.0005)  # noqa: ASYNC251 - let the thread get ahead of the loop
        call.cancel()
        with suppress(asyncio.CancelledError):
            kept.append(await call)

    for number in range(300):
        await one(number)
    await until(lambda: sorted(made) == sorted(kept + undone))
    assert len(set(made)) == len(made)


async def test_a_failing_undo_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    blocking = Blocking()
    call = asyncio.ensure_future(offload(route(), blocking, undo=lambda value: 1 / 0))
    await blocking.running()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    blocking.end.set()
    await until(lambda: "take back" in caplog.text)


# -- conversations -----------------------------------------------------------


async def test_a_conversation_can_be_cancelled_and_is_not_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offload_module, "GRACE", 60)
    way = route()
    call = asyncio.ensure_future(converse(way, wait_for_ever))
    await until(lambda: lane(way, "wait").status()["running"] == 1)
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The slice has ended, and not the patience with a thread that does not.
    assert time.monotonic() - began < 30
    await until(lambda: lane(way, "wait").status()["running"] == 0)


async def test_a_conversation_lends_its_turn() -> None:
    guard = Guard()
    way = route(guard=guard)
    call = asyncio.ensure_future(converse(way, wait_for_ever))
    await until(lambda: lane(way, "wait").status()["running"] == 1)
    for _ in range(3):
        await offload(way, lambda: None, deadline=20)
    assert not call.done()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await offload(way, lambda: None, deadline=20)


async def test_thirty_three_waits_and_a_send() -> None:
    way = route(threads=32)
    calls = [asyncio.ensure_future(converse(way, wait_for_ever)) for _ in range(33)]
    await until(lambda: lane(way, "wait").status()["running"] == 32)
    assert lane(way, "wait").status()["queued"] == 1
    assert await offload(way, lambda: "sent", deadline=20) == "sent"
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await until(lambda: lane(way, "wait").status()["running"] == 0)


async def test_a_wait_without_a_thread_does_not_hold_its_connection() -> None:
    guard = Guard()
    full = route(threads=1)
    way = Route(full.endpoints, guard=guard, threads=1, expired=Late)
    calls = [asyncio.ensure_future(converse(full, wait_for_ever))]
    await until(lambda: lane(full, "wait").status()["running"] == 1)
    calls.append(asyncio.ensure_future(converse(way, wait_for_ever)))
    await until(lambda: lane(way, "wait").status()["queued"] == 1)
    assert await offload(way, lambda: "sent", deadline=20) == "sent"
    assert lane(way, "wait").status()["queued"] == 1
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_deadline_of_a_conversation_ends_where_it_waits() -> None:
    way, blocking = route(), Blocking()
    with pytest.raises(Late) as caught:
        await converse(way, blocking, deadline=SOON)
    assert caught.value.expired.uncertain
    blocking.end.set()

    def wait_a_little() -> str:
        talk = current_conversation()
        assert talk is not None
        talk.sleep(SOON + 0.2)
        return "done"

    assert await converse(way, wait_a_little, deadline=SOON) == "done"


async def test_a_conversation_takes_back_what_came_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offload_module, "GRACE", 60)
    undone: list[int] = []
    decoding = Blocking()

    def receive() -> int:
        decoding()  # it has arrived
        return 5

    call = asyncio.ensure_future(converse(route(), receive, undo=undone.append))
    await decoding.running()
    call.cancel()
    asyncio.get_running_loop().call_later(0.1, decoding.end.set)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert undone == [5]  # before the caller goes on


async def test_a_thousand_cancelled_waits_leave_nothing() -> None:
    way = route(threads=8)
    for _ in range(10):
        calls = [
            asyncio.ensure_future(converse(way, wait_for_ever)) for _ in range(100)
        ]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await until(lambda: lane(way, "wait").status()["running"] == 0)
    status = lane(way, "wait").status()
    assert status["stuck"] == status["queued"] == 0
    assert status["threads"] <= 8
    assert await converse(way, lambda: 3) == 3


# -- many servers, loops, processes ------------------------------------------


async def test_a_stuck_server_does_not_delay_another() -> None:
    dead, alive = route(threads=2), route(threads=2)
    calls = [Blocking() for _ in range(2)]
    for call in calls:
        with pytest.raises(Late):
            await offload(dead, call, deadline=SOON)
    with pytest.raises(Late) as caught:
        await offload(dead, lambda: 1, deadline=0.02)
    assert caught.value.expired.uncertain is False
    assert caught.value.expired.stuck == 2
    assert await offload(alive, lambda: 1, deadline=20) == 1
    assert lane(dead).stuck == 2  # still: it was not waited for
    for call in calls:
        call.end.set()
    await until(lambda: lane(dead).stuck == 0)
    assert await offload(dead, lambda: 1, deadline=20) == 1


async def test_the_loop_runs_on_while_threads_block() -> None:
    way, calls = route(), [Blocking() for _ in range(30)]
    # They end only when the loop, which must run for it, tells them.
    waits = [asyncio.ensure_future(offload(way, call)) for call in calls]
    for call in calls:
        await call.running()
        call.end.set()
    assert await asyncio.gather(*waits) == [True] * 30


def test_a_hundred_loops_one_after_the_other() -> None:
    way = route()
    before = threading.active_count()
    for number in range(100):
        assert asyncio.run(offload(way, lambda n=number: n)) == number  # type: ignore[misc]
    assert threading.active_count() - before <= 2


def test_eight_threads_each_with_a_loop() -> None:
    way = route(guard=Guard(), threads=4)
    done: list[int] = []

    async def main() -> None:
        results = await asyncio.gather(*(offload(way, lambda: 1) for _ in range(20)))
        done.extend(results)

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 160


def test_a_loop_that_ends_early_is_not_called_back() -> None:
    done = run(
        """
import asyncio, threading, time
from celery_async_bridge.core.offload import converse, offload
from celery_async_bridge.core.route import Endpoint, Route
from celery_async_bridge.core import offload as module
module.GRACE = 0.05
way = Route((Endpoint("broker", "x", "k", "x://"),), guard=threading.Event())
async def main():
    for call in (offload, converse):
        task = asyncio.ensure_future(call(way, lambda: time.sleep(0.3)))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
asyncio.run(main())
time.sleep(0.8)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_exits_although_a_thread_is_stuck() -> None:
    # `run` fails after a minute.
    done = run(
        """
import asyncio, threading
from celery_async_bridge.core.offload import converse, offload
from celery_async_bridge.core.route import Endpoint, Route
way = Route((Endpoint("broker", "x", "k", "x://"),))
async def main():
    for call in (offload, converse):
        try:
            await call(way, lambda: threading.Event().wait(100), deadline=0.5)
        except Exception as exc:
            print(type(exc).__name__)
asyncio.run(main())
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["Expired", "Expired"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_offloads_in_threads_of_its_own() -> None:
    """Its parent's only thread is stuck, and holds the connection."""
    done = run(
        """
import asyncio, os, threading
from celery_async_bridge.core.offload import converse, offload
from celery_async_bridge.core.route import Endpoint, Expired, Route
guard, end = threading.Event(), threading.Event()
way = Route((Endpoint("broker", "x", "k", "x://"),), guard=guard, threads=1)
async def parent():
    try:
        await offload(way, lambda: end.wait(60), deadline=1)
    except Expired as exc:
        assert exc.uncertain
async def child():
    assert await offload(way, lambda: 40, deadline=20) == 40
    return await converse(way, lambda: 42)
asyncio.run(parent())
pid = os.fork()
if not pid:
    os._exit(asyncio.run(child()))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
end.set()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
