from __future__ import annotations

import asyncio
import threading

from celery_async_bridge.drivers.memory.notify import Board, LoopBell, ThreadBell


def test_ring_wakes_the_one_that_waits_longest_and_nobody_twice() -> None:
    board, first, second = Board(), ThreadBell(), ThreadBell()
    board.join(first, ["a"])
    board.join(second, ["a"])
    board.ring("a")
    assert (first.rung, second.rung) == (True, False)
    board.ring("a")
    assert second.rung


def test_ring_does_not_touch_those_who_wait_for_something_else() -> None:
    board, bell = Board(), ThreadBell()
    board.join(bell, ["a"])
    board.ring("b")
    assert not bell.rung


def test_ring_all_brings_the_value_to_everybody() -> None:
    board, bells = Board(), [ThreadBell(), ThreadBell()]
    for bell in bells:
        board.join(bell, ["a"])
    board.ring_all("a", 7)
    assert [bell.value for bell in bells] == [7, 7]


def test_a_left_bell_is_forgotten() -> None:
    board, bell = Board(), ThreadBell()
    board.join(bell, ["a", "b"])
    board.leave(bell, ["a", "b"])
    board.ring("a")
    assert not bell.rung
    assert len(board) == 0


async def test_a_ring_between_look_and_wait_is_not_lost() -> None:
    board, bell = Board(), LoopBell()
    board.join(bell, ["a"])
    bell.arm()
    thread = threading.Thread(target=board.ring, args=("a",))
    thread.start()
    thread.join()
    assert await asyncio.wait_for(bell.wait(None), 5)


async def test_wait_is_over_after_the_timeout() -> None:
    assert not await LoopBell().wait(0.01)


def test_a_bell_whose_loop_is_closed_passes_the_ring_on() -> None:
    board, bells = Board(), []

    async def hang() -> None:
        bell = LoopBell()
        bells.append(bell)
        board.join(bell, ["a"])

    thread = threading.Thread(target=lambda: asyncio.run(hang()))
    thread.start()
    thread.join()
    alive = ThreadBell()
    board.join(alive, ["a"])
    board.ring("a")
    assert bells[0].rung
    assert alive.rung
