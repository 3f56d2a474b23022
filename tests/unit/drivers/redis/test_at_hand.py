"""What needs no wait: events that are delivered, and acks that leave, at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from celery_async_bridge.drivers.redis.intake import intake_of
from celery_async_bridge.errors import PublishTimeout
from celery_async_bridge.mixins.kombu._crew import crew_of
from tests.unit.core.help import until
from tests.unit.drivers.redis.consuming import Consumer, Place, consuming, read_ahead

#: Prefetch limits: a callback is awaited by the delivery, or goes on beside it.
LIMITS = (0, 8)


@pytest.fixture
def place(redis_url: str, unique: str) -> Place:
    return Place(redis_url, unique, client_name=unique)


class Work:
    """An async callback that goes on when it is told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.failure: Exception | None = None

    async def __call__(self, body: Any, message: Any) -> None:
        self.begun.append(body)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        await message.aack()
        self.ended.append(body)


async def _at_hand(consumer: Consumer) -> Work:
    """Have the next messages claimed, and given to an async callback."""
    await read_ahead(consumer)
    assert crew_of(consumer.connection) is None
    work = Work()
    consumer.consumer.callbacks[:] = [work]
    return work


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_wait_ends_with_the_callback(place: Place, limit: int) -> None:
    await place.put("q", *range(5))
    async with consuming(place, "q", prefetch=limit) as consumer:
        work = await _at_hand(consumer)
        wait = asyncio.ensure_future(consumer.connection.adrain_events(timeout=20))
        await until(lambda: work.begun)
        assert not wait.done()
        work.gate.set()
        await wait
        assert work.ended
        while len(work.ended) < 3:
            await consumer.connection.adrain_events(timeout=20)
        assert work.ended == [2, 3, 4]
        assert len(await place.unacked()) == 2


@pytest.mark.parametrize("limit", LIMITS)
async def test_its_exception_is_raised(place: Place, limit: int) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q", prefetch=limit) as consumer:
        work = await _at_hand(consumer)
        work.failure = LookupError("x")
        work.gate.set()
        with pytest.raises(LookupError):
            await consumer.connection.adrain_events(timeout=20)
        assert len(await place.unacked()) == 3


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_wait_is_cancelled(place: Place, limit: int) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q", prefetch=limit) as consumer:
        work = await _at_hand(consumer)
        wait = asyncio.ensure_future(consumer.connection.adrain_events())
        await until(lambda: work.begun)
        wait.cancel()
        await asyncio.wait({wait})
        assert wait.cancelled()
        work.gate.set()
        if limit:
            # It goes on by itself, and is told to the next wait.
            await consumer.connection.adrain_events(timeout=20)
        assert work.ended == [2] * bool(limit)
        assert len(await place.unacked()) == 3 - len(work.ended)


async def test_a_wait_without_patience_has_handed_over(place: Place) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q", prefetch=8) as consumer:
        work = await _at_hand(consumer)
        await consumer.connection.adrain_events(timeout=0)
        # One that goes on is no event any more: nothing else has come.
        with pytest.raises(TimeoutError):
            await consumer.connection.adrain_events(timeout=0)
        work.gate.set()
        await consumer.connection.adrain_events(timeout=20)
        assert work.ended == [2]


# -- acks -----------------------------------------------------------------------------


def _mux(consumer: Consumer) -> Any:
    intake = intake_of(consumer.channel)
    assert intake is not None
    return intake.ledger.mux


async def test_an_ack_that_is_alone_leaves_at_once(place: Place) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        message, other = consumer.messages
        mux, link = _mux(consumer), _mux(consumer)._link
        await until(lambda: mux.idle)
        first = asyncio.ensure_future(message.aack())
        second = asyncio.ensure_future(other.aack())
        await asyncio.sleep(0)
        # The second one shares a write with those that come in the same turn.
        assert len(link.waiting) == 1
        assert not message.acknowledged
        await asyncio.gather(first, second)
        assert message.acknowledged
        assert message.delivery_tag not in await place.unacked()
        assert other.delivery_tag not in await place.unacked()
        with pytest.raises(message.MessageStateError):
            await message.aack()


async def test_it_is_cancelled_after_it_has_left(place: Place) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        message, other = consumer.messages
        await until(lambda: _mux(consumer).idle)
        ack = asyncio.ensure_future(message.aack())
        await asyncio.sleep(0)
        ack.cancel()
        await asyncio.wait({ack})
        assert ack.cancelled()
        await other.aack()
        assert len(await place.unacked()) == 1
        assert await consumer.drain() == [2]


async def test_its_deadline_passes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        message, other = consumer.messages
        await until(lambda: _mux(consumer).idle)
        monkeypatch.setattr("celery_async_bridge.mixins.kombu.message.DEADLINE", 0.05)
        transport = _mux(consumer)._link._transport
        transport.pause_reading()
        with pytest.raises(PublishTimeout, match="0\\.05"):
            await message.aack()
        transport.resume_reading()
        monkeypatch.undo()
        assert not message.acknowledged
        await other.aack()
        # It had left.
        assert len(await place.unacked()) == 1


async def test_it_is_not_acked_when_the_connection_breaks(place: Place) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        message = consumer.messages[0]
        await until(lambda: _mux(consumer).idle)
        ack = asyncio.ensure_future(message.aack())
        await asyncio.sleep(0)
        _mux(consumer)._link.abort()
        with pytest.raises(redis.ConnectionError):
            await ack
        assert not message.acknowledged
        await message.aack()
        assert message.delivery_tag not in await place.unacked()
