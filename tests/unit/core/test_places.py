"""Places: their order, their deadlines, and those who leave without one."""

from __future__ import annotations

import asyncio

import pytest

from celery_async_bridge.core.places import Places, places_of

FAR = 60.0


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _free(places: Places) -> bool:
    return await asyncio.wait_for(places.join(FAR, _now()), 20)


async def test_places_are_given_first_come_first_served() -> None:
    places, order, left = Places(2), list[int](), list[int]()

    async def send(number: int) -> None:
        assert await places.join(FAR, _now())
        order.append(number)
        await asyncio.sleep(0)
        assert len(order) - len(left) <= 2
        left.append(number)
        places.leave()

    await asyncio.wait_for(asyncio.gather(*map(send, range(20))), 20)
    assert order == list(range(20))


async def test_who_gets_no_place_in_time_leaves_the_queue() -> None:
    places = Places(1)
    assert places.take()
    assert not places.take()
    assert not await places.join(0.01, _now())
    assert not await places.join(30, _now() - 60)
    places.leave()
    assert await _free(places)


@pytest.mark.parametrize("served", [False, True], ids=["waiting", "served"])
async def test_a_cancelled_call_gives_its_place_away(served: bool) -> None:
    places = Places(1)
    assert places.take()
    first = asyncio.ensure_future(places.join(FAR, _now()))
    await asyncio.sleep(0)
    if served:
        places.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    if not served:
        places.leave()
    assert await _free(places)


async def test_a_call_whose_coroutine_is_closed_is_not_waited_for() -> None:
    places = Places(1)
    assert places.take()
    closed = places.join(FAR, _now())
    closed.send(None)
    closed.close()
    places.leave()
    assert await _free(places)


async def test_servers_do_not_share_places() -> None:
    here = places_of("redis://here")
    while here.take():
        pass
    assert places_of("redis://here") is here
    assert places_of("redis://there").take()
