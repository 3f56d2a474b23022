from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from functools import partial
from queue import Empty, Queue
from typing import Any

import pytest

from celery_async_bridge.testing.tripwire import TripError, tripwire


def _sleep() -> None:
    time.sleep(0.001)


def _receive() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.send(b"x")
        left.recv(1)


def _connect() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def _look_up() -> None:
    socket.getaddrinfo("127.0.0.1", 80)


def _wait_for_event() -> None:
    threading.Event().wait(0.001)


def _wait_for_queue() -> None:
    with pytest.raises(Empty):
        Queue[int]().get(timeout=0.001)


def _wait_for_future() -> None:
    with pytest.raises(TimeoutError):
        Future[int]().result(timeout=0.001)


def _wait_for_lock(kind: str) -> None:
    lock = getattr(threading, kind)()
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            free.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    while not taken.is_set():
        pass
    try:
        lock.acquire(timeout=0.01)
    finally:
        free.set()


def _join() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


BLOCKING = [
    _sleep,
    _receive,
    _connect,
    _look_up,
    _wait_for_event,
    _wait_for_queue,
    _wait_for_future,
    partial(_wait_for_lock, "Lock"),
    partial(_wait_for_lock, "RLock"),
    _join,
]


def _free_lock() -> None:
    lock = threading.RLock()
    with lock, lock:
        assert not threading.Lock().locked()
    plain = threading.Lock()
    with plain:
        assert not plain.acquire(blocking=False)


def _condition() -> None:
    condition = threading.Condition()
    with condition:
        condition.notify_all()
        condition.wait(0)


def _nonblocking_socket() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        right.send(b"x")
        left.recv(1)


def _nonblocking_queue() -> None:
    queue: Queue[int] = Queue()
    queue.put(1)
    queue.get_nowait()


def _ask_a_future() -> None:
    future: Future[int] = Future()
    taken = threading.Event()

    def hold() -> None:
        with future._condition:
            taken.set()
            time.sleep(0.01)

    thread = threading.Thread(target=hold)
    thread.start()
    while not taken.is_set():
        pass
    future.add_done_callback(lambda _: None)


def _start_thread() -> None:
    threading.Thread(target=int).start()


FREE = [
    _free_lock,
    _condition,
    _nonblocking_socket,
    _nonblocking_queue,
    _ask_a_future,
    _start_thread,
    partial(time.sleep, 0),
]


async def _on_loop(fn: Callable[[], Any]) -> None:
    await asyncio.sleep(0.001)
    fn()


@pytest.mark.parametrize("fn", BLOCKING)
def test_wait_on_a_loop_thread_trips(fn: Callable[[], Any]) -> None:
    with pytest.raises(TripError), tripwire():
        asyncio.run(_on_loop(fn))


@pytest.mark.parametrize("fn", BLOCKING)
def test_wait_elsewhere_does_not(fn: Callable[[], Any]) -> None:
    with tripwire() as wire:
        fn()
        asyncio.run(_on_loop(int))
    assert not wire.trips


@pytest.mark.parametrize("fn", FREE)
def test_what_does_not_wait_does_not_trip(fn: Callable[[], Any]) -> None:
    with tripwire() as wire:
        asyncio.run(_on_loop(fn))
    assert not wire.trips


def test_a_swallowed_trip_is_raised_at_the_end() -> None:
    def swallow() -> None:
        with pytest.raises(TripError):
            time.sleep(0.001)

    with pytest.raises(TripError, match=r"time\.sleep"), tripwire():
        asyncio.run(_on_loop(swallow))


def test_lenient_wire_only_notes() -> None:
    with tripwire(strict=False) as wire:
        asyncio.run(_on_loop(_sleep))
    assert [trip.what for trip in wire.trips] == ["time.sleep(0.001)"]
    assert "_sleep" in str(wire.trips[0])


def test_disarmed_wire_is_silent() -> None:
    async def main(wire: Any) -> None:
        wire.armed = False
        time.sleep(0.001)  # noqa: ASYNC251 # what the wire is for

    with tripwire() as wire:
        asyncio.run(main(wire))
    assert not wire.trips


def test_wait_in_a_thread_beside_a_loop_does_not_trip() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.sleep, 0.001)

    with tripwire() as wire:
        asyncio.run(main())
    assert not wire.trips


def test_everything_is_put_back() -> None:
    before = (time.sleep, socket.socket.recv, threading.Lock, threading.Condition.wait)
    with tripwire():
        assert time.sleep is not before[0]
    after = (time.sleep, socket.socket.recv, threading.Lock, threading.Condition.wait)
    assert after == before
    assert "recv" not in vars(socket.socket)


def test_sleep_imported_by_name_is_watched() -> None:
    from kombu.utils import functional

    with pytest.raises(TripError), tripwire():
        asyncio.run(_on_loop(lambda: vars(functional)["sleep"](0.001)))


def test_sleep_behind_a_seam_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.utils import functional

    from celery_async_bridge.core.trampoline import spawn
    from celery_async_bridge.seams import _sleep as seam

    monkeypatch.setattr(functional, "sleep", seam(time.sleep))

    def pause() -> None:
        vars(functional)["sleep"](0.001)

    with pytest.raises(TripError), tripwire():
        asyncio.run(_on_loop(pause))
    with tripwire() as wire:
        asyncio.run(spawn(pause))
    assert not wire.trips


async def test_a_lock_that_outlives_the_wire_trips_nothing() -> None:
    with tripwire():
        lock = threading.Lock()
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            free.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    threading.Timer(0.05, free.set).start()
    with lock:
        pass
    thread.join(20)


def test_a_thread_that_is_slow_to_begin_does_not_trip() -> None:
    held, free = threading.Event(), threading.Event()

    def hold(lock: Any) -> None:
        with lock:
            held.set()
            free.wait(20)

    async def main() -> None:
        thread = threading.Thread(target=int)
        started: Any = vars(thread)["_started"]
        holder.append(threading.Thread(target=hold, args=(started._cond,)))
        wire.armed = False  # what follows is the test's own
        holder[0].start()
        held.wait(20)
        threading.Timer(0.05, free.set).start()
        wire.armed = True
        thread.start()

    holder: list[threading.Thread] = []
    with tripwire() as wire:
        asyncio.run(main())
    holder[0].join(20)
    assert free.is_set()


async def test_an_executor_may_look_for_an_idle_thread() -> None:
    with tripwire():
        pool: Any = ThreadPoolExecutor(2)
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with pool._idle_semaphore._cond:
                held.set()
                free.wait(30)

        # As a thread of the pool does for a moment when it has done its work.
        holder = threading.Thread(target=hold)
        holder.start()
        await asyncio.to_thread(held.wait, 30)
        threading.Timer(0.05, free.set).start()
        assert await asyncio.wrap_future(pool.submit(int, "5")) == 5
        await asyncio.to_thread(holder.join, 30)
    pool.shutdown()
