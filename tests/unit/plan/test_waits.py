"""What sends wait for: replies and places, their order, deadlines, cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celery_async_bridge.errors import PublishTimeout
from celery_async_bridge.plan.waits import Deadlines, Retries

FAR = 60.0


def _end(seconds: float = FAR) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_places_are_given_first_come_first_served() -> None:
    retries, order = Retries(2), []

    async def send(number: int) -> None:
        await retries.join(_end(), TimeoutError)
        order.append(number)
        await asyncio.sleep(0)
        assert len(order) - len(left) <= 2
        left.append(number)
        retries.leave()

    left: list[int] = []
    await asyncio.wait_for(asyncio.gather(*map(send, range(20))), 20)
    assert order == list(range(20))


async def test_who_gets_no_place_in_time_fails_and_leaves_the_queue() -> None:
    retries = Retries(1)
    await retries.join(_end(), TimeoutError)
    with pytest.raises(LookupError, match="late"):
        await retries.join(_end(0.01), lambda: LookupError("late"))
    retries.leave()
    await asyncio.wait_for(retries.join(_end(), TimeoutError), 20)


@pytest.mark.parametrize("served", [False, True], ids=["waiting", "served"])
async def test_a_cancelled_send_gives_its_place_away(served: bool) -> None:
    retries = Retries(1)
    await retries.join(_end(), TimeoutError)
    first = asyncio.ensure_future(retries.join(_end(), TimeoutError))
    await asyncio.sleep(0)
    if served:
        retries.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    if not served:
        retries.leave()
    await asyncio.wait_for(retries.join(_end(), TimeoutError), 20)


async def test_a_send_whose_coroutine_is_closed_is_not_waited_for() -> None:
    retries = Retries(1)
    await retries.join(_end(), TimeoutError)
    closed = retries.join(_end(), TimeoutError)
    closed.send(None)
    closed.close()
    retries.leave()
    await asyncio.wait_for(retries.join(_end(), TimeoutError), 20)


async def test_a_reply_does_not_wait_for_the_deadline_of_a_later_place() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines(FAR)
    place, reply, other = (loop.create_future() for _ in range(3))
    deadlines.watch(place, _end(), "later", "redis://", uncertain=False)
    # Its send has come earlier, and waited for its place until now.
    deadlines.watch(reply, _end(0.05), "earlier", "redis://")
    deadlines.watch(other, _end(), "last", "redis://")
    with pytest.raises(PublishTimeout) as caught:
        await asyncio.wait_for(reply, 20)
    assert caught.value.task_id == "earlier"
    assert caught.value.uncertain
    assert not place.done()
    assert not other.done()


async def test_each_of_many_ends_by_its_own_deadline() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines(FAR)
    futures = [loop.create_future() for _ in range(20)]
    for number, future in enumerate(futures):
        deadlines.watch(future, _end(0.01 * number), str(number), "redis://", False)
    futures[3].set_result(None)
    ended: list[Any] = await asyncio.wait_for(
        asyncio.gather(*futures, return_exceptions=True), 20
    )
    assert ended.pop(3) is None
    assert all(isinstance(error, PublishTimeout) for error in ended)
    assert not any(error.uncertain for error in ended)
