from __future__ import annotations

import asyncio
import gc
import os
import threading
from functools import partial
from typing import Any

import pytest

from celery_async_bridge.core import turn as turn_module
from celery_async_bridge.core.turn import Turn, turn_of
from tests.unit.core.help import run, until


class Thing:
    """Equal to every other."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing)

    def __hash__(self) -> int:
        return 1


async def test_one_at_a_time_first_come_first_served() -> None:
    turn = Turn()
    order: list[int] = []
    inside = 0

    async def use(number: int) -> None:
        nonlocal inside
        await turn.acquire()
        inside += 1
        assert inside == 1
        await asyncio.sleep(0)
        order.append(number)
        inside -= 1
        turn.release()

    await asyncio.gather(*(use(number) for number in range(50)))
    assert order == list(range(50))
    assert not turn.wanted


async def test_threads_and_coroutines_queue_together() -> None:
    turn = Turn()
    await turn.acquire()
    order: list[str] = []

    def in_thread(name: str) -> None:
        assert turn.acquire_blocking()
        order.append(name)
        turn.release()

    async def on_loop(name: str) -> None:
        await turn.acquire()
        order.append(name)
        turn.release()

    def more(waiting: int) -> bool:
        return len(turn._waiters) > waiting

    threads, tasks = [], []
    for number in range(6):
        waiting = len(turn._waiters)
        if number % 2:
            thread = threading.Thread(target=in_thread, args=(f"t{number}",))
            thread.start()
            threads.append(thread)
        else:
            tasks.append(asyncio.ensure_future(on_loop(f"c{number}")))
        await until(partial(more, waiting))
    turn.release()
    await asyncio.gather(*tasks)
    for thread in threads:
        thread.join(30)
    assert order == ["c0", "t1", "c2", "t3", "c4", "t5"]


async def test_timeout_leaves_no_waiter() -> None:
    turn = Turn()
    await turn.acquire()
    with pytest.raises(TimeoutError):
        await turn.acquire(0.02)
    assert not turn.wanted
    turn.release()
    await turn.acquire(0.02)


async def test_abandoned_waiters_are_passed_over() -> None:
    turn = Turn()
    await turn.acquire()
    waiting = [asyncio.ensure_future(turn.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    turn.release()
    await asyncio.wait_for(waiting[1], 30)
    assert not waiting[2].done()
    turn.release()
    await asyncio.wait_for(waiting[2], 30)


async def test_a_turn_granted_to_one_who_is_being_cancelled_goes_on() -> None:
    turn = Turn()
    await turn.acquire()
    first = asyncio.ensure_future(turn.acquire())
    second = asyncio.ensure_future(turn.acquire())
    await asyncio.sleep(0)
    turn.release()  # grants it to the first ...
    first.cancel()  # ... who goes before he notices
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 30)


async def test_a_thread_stops_waiting_when_it_is_told() -> None:
    turn = Turn()
    await turn.acquire()
    stop = threading.Event()
    got: list[bool] = []
    thread = threading.Thread(
        target=lambda: got.append(turn.acquire_blocking(unless=stop))
    )
    thread.start()
    await until(lambda: turn.wanted)
    stop.set()
    thread.join(30)
    assert got == [False]
    assert not turn.wanted
    turn.release()
    assert turn.acquire_blocking(unless=stop)  # it is free: nothing to wait for


def test_turns_go_by_identity_and_die_with_their_object() -> None:
    first, second = Thing(), Thing()
    assert turn_of(first) is turn_of(first)
    assert turn_of(first) is not turn_of(second)
    assert turn_of(first, "other purpose") is not turn_of(first)
    keys = {key for key in turn_module._by_id if key[0] == id(first)}
    assert len(keys) == 2
    del first
    gc.collect()
    assert not keys & turn_module._by_id.keys()


def test_a_late_funeral_does_not_bury_the_heir() -> None:
    """Another object may have the id before the callback of the first one runs."""
    thing = Thing()
    key = (id(thing), "")
    turn_of(thing)
    ref, _ = turn_module._by_id[key]
    forget: Any = ref.__callback__
    del turn_module._by_id[key]
    heir = turn_of(thing)
    forget(ref)
    assert turn_of(thing) is heir


async def test_many_loops_share_a_turn() -> None:
    turn = Turn()
    inside: list[int] = []

    async def use() -> None:
        for _ in range(30):
            await turn.acquire(30)
            inside.append(1)
            assert len(inside) == 1
            await asyncio.sleep(0)
            inside.pop()
            turn.release()

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(4)]
    for thread in threads:
        thread.start()
    await until(lambda: not any(thread.is_alive() for thread in threads), 60)
    assert not inside
    assert turn.acquire_blocking()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    done = run(
        """
import asyncio, os
from celery_async_bridge.core.turn import turn_of
class Thing: pass
thing = Thing()
turn_of(thing).acquire_blocking()
pid = os.fork()
if not pid:
    asyncio.run(turn_of(thing).acquire(30))
    os._exit(42)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
