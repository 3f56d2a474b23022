"""What only Python can read is never left among the undecodable."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.drivers.redis.consuming import (
    Place,
    channel_of,
    consuming,
    eventually,
    queue,
    read_ahead,
)

#: A lone surrogate: a string that Python's JSON reads and Lua's does not.
HALF = {"half": "\ud800"}


@pytest.fixture
def place(redis_url: str, unique: str) -> Place:
    return Place(redis_url, unique)


async def test_what_lua_cannot_read_goes_back_from_a_cancelled_call(
    place: Place,
) -> None:
    async with channel_of(place.connect()) as channel:
        bound = queue("q", channel=channel)
        await place.put("q", *range(5), headers=HALF)
        # At whatever point the call is.
        for turns in range(20):
            call = asyncio.ensure_future(bound.aget())
            for _ in range(turns):
                await asyncio.sleep(0)
            # None if all of them are on their way back.
            if not call.cancel() and (message := await call) is not None:
                await message.arequeue()
        await eventually(lambda: place.ask("LLEN", "q"), 5)
        assert await place.ask("LLEN", "q.undecodable") == 0
        assert await place.unacked() == {}


async def test_what_lua_cannot_read_goes_back_from_a_cancelled_wait(
    place: Place,
) -> None:
    await place.put("q", *range(5), headers=HALF)
    for turns in range(20):
        async with consuming(place, "q") as consumer:
            call = asyncio.ensure_future(consumer.drain(1))
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            for message in consumer.messages:
                await message.arequeue()
    await eventually(lambda: place.ask("LLEN", "q"), 5)
    assert await place.ask("LLEN", "q.undecodable") == 0
    assert await place.unacked() == {}


async def test_what_lua_cannot_read_goes_back_when_nobody_has_seen_it(
    place: Place,
) -> None:
    await place.put("q", *range(4))
    await place.put("q", "half", headers=HALF)
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        assert await place.ask("LLEN", "q.undecodable") == 1
        for message in consumer.messages:
            await message.aack()
    seen = len(consumer.bodies)
    assert await place.ask("LLEN", "q.undecodable") == 0
    assert await place.order(["q"], 5 - seen) == [*range(seen, 4), "half"]
