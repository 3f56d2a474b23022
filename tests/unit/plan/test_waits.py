"""Places of failed sends: order, deadline, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from celery_async_bridge.plan.waits import Retries

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
