"""One timer for many waits: each ends by its own deadline, few of them at a time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from celery_async_bridge.core.deadlines import AT_ONCE, LATE, Deadlines, deadlines_of

FAR = 60.0


def _end(seconds: float = FAR) -> float:
    return asyncio.get_running_loop().time() + seconds


def _futures(count: int) -> list[asyncio.Future[Any]]:
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


async def test_who_comes_late_with_an_early_end_is_not_kept_waiting() -> None:
    deadlines = Deadlines(FAR)
    first, early, last = _futures(3)
    deadlines.watch(first, _end())
    deadlines.watch(early, _end(0.05))
    deadlines.watch(last, _end())
    assert await asyncio.wait_for(early, 20) is LATE
    assert not first.done()
    assert not last.done()


async def test_each_of_many_ends_by_its_own_deadline() -> None:
    deadlines, futures = Deadlines(FAR), _futures(20)
    for number, future in enumerate(futures):
        deadlines.watch(future, _end(0.01 * number))
    futures[3].set_result(None)
    ended = await asyncio.wait_for(asyncio.gather(*futures), 20)
    assert ended.pop(3) is None
    assert ended == [LATE] * 19


async def test_of_hundreds_that_end_together_few_end_in_one_turn() -> None:
    deadlines, futures = Deadlines(FAR), _futures(5 * AT_ONCE)
    now = _end(0)
    for future in futures:
        deadlines.watch(future, now)
    counts = [0]
    while counts[-1] < len(futures):
        await asyncio.sleep(0)
        counts.append(sum(future.done() for future in futures))
    ended = [after - before for before, after in pairwise(counts)]
    assert max(ended) <= AT_ONCE
    assert all(future.result() is LATE for future in futures)


async def test_what_is_done_is_not_kept() -> None:
    deadlines = Deadlines(FAR)
    for future in _futures(100):
        deadlines.watch(future, _end())
        future.set_result(None)
    assert len(deadlines._watched) == 1


async def test_a_loop_has_one_watch_for_each_number_of_seconds_and_kind() -> None:
    assert deadlines_of(5, "call") is deadlines_of(5, "call")
    assert deadlines_of(5, "call") is not deadlines_of(5, "reply")
    assert deadlines_of(5, "call") is not deadlines_of(6, "call")
    for number in range(200):
        deadlines_of(number, "call")
    assert deadlines_of(7, "call").seconds == 7
