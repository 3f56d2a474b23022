"""Twins of `kombu.resource`, `kombu.pools` and the pools of `kombu.connection`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import kombu
import kombu.pools
import pytest
from kombu.exceptions import ConnectionLimitExceeded, LimitExceeded
from kombu.pools import ProducerPool
from kombu.resource import Resource

from celery_async_bridge.core.lane import lanes
from tests.unit.core.help import until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
pools: Any = kombu.pools


@pytest.fixture
def pool(url: str) -> Iterator[Any]:
    pool = Connection(url).Pool(limit=2)
    yield pool
    pool.force_close_all()


def _in_use(pool: Any) -> int:
    return len(pool._dirty)


async def test_acquire_with_await_and_with_async_with(pool: Any) -> None:
    connection = await pool.aacquire()
    assert type(connection) is type(pool.acquire())
    assert _in_use(pool) == 2
    await connection.arelease()
    async with pool.aacquire(block=True) as again:
        assert again is connection
        await again.adefault_channel()
        assert _in_use(pool) == 2
    assert _in_use(pool) == 1
    assert again.connected


async def test_a_broken_connection_is_replaced(pool: Any) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.aacquire() as connection:
            await connection.aconnect()
            raise KeyError
    assert _in_use(pool) == 0
    assert not connection.connected


async def test_an_empty_pool_raises_what_the_sync_twin_raises(pool: Any) -> None:
    held = [await pool.aacquire() for _ in range(2)]
    for call in (pool.acquire, lambda: pool.acquire(block=True, timeout=0.01)):
        with pytest.raises(ConnectionLimitExceeded):
            call()
    with pytest.raises(ConnectionLimitExceeded):
        await pool.aacquire()
    began = time.monotonic()
    with pytest.raises(ConnectionLimitExceeded):
        await pool.aacquire(block=True, timeout=0.2)
    assert 0.19 < time.monotonic() - began < 30
    for connection in held:
        await pool.arelease(connection)
    assert _in_use(pool) == 0


async def test_the_first_who_waits_is_served_first(pool: Any) -> None:
    held = [await pool.aacquire() for _ in range(2)]
    order: list[int] = []

    async def use(number: int) -> None:
        async with pool.aacquire(block=True):
            order.append(number)

    users = [asyncio.ensure_future(use(number)) for number in range(5)]
    await asyncio.sleep(0.05)
    assert order == []
    held[0].release()
    await asyncio.gather(*users)
    assert order == [0, 1, 2, 3, 4]
    held[1].release()


@pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)
async def test_waiting_holds_no_thread(broker_url: str) -> None:
    pool: Any = Connection(broker_url).Pool(limit=1)
    holder = await pool.aacquire()

    async def use() -> None:
        async with pool.aacquire(block=True) as connection:
            await connection.adefault_channel()

    users = [asyncio.ensure_future(use()) for _ in range(60)]
    await asyncio.sleep(0.1)
    # What an earlier test has left to a thread may take a moment.
    await until(lambda: not any(lane.status()["running"] for lane in lanes().values()))
    # With a thread per waiter there would be none left for this.
    await asyncio.wait_for(holder.adefault_channel(), 30)
    await holder.arelease()
    await asyncio.wait_for(asyncio.gather(*users), 90)
    assert _in_use(pool) == 0
    pool.force_close_all()


async def test_cancelled_waits_lose_no_connection(pool: Any) -> None:
    for turn in range(40):
        held = [await pool.aacquire(), await pool.aacquire()]
        waits = [
            asyncio.ensure_future(_hold(pool.aacquire(block=True))) for _ in range(3)
        ]
        await asyncio.sleep(0.0005 * (turn % 5))
        held.pop().release()
        await asyncio.sleep(0.0005 * (turn % 7))
        for wait in waits:
            wait.cancel()
        for outcome in await asyncio.gather(*waits, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                outcome.release()
        held.pop().release()
    # What came too late goes back from its thread.
    await until(lambda: not _in_use(pool), 60)
    free = pool._resource.queue
    assert len(free) == 2
    assert len({id(one) for one in free}) == 2


async def _hold(making: Any) -> Any:
    return await making


async def test_a_pool_without_limit(url: str) -> None:
    pool: Any = Connection(url).Pool(limit=0)
    async with pool.aacquire(block=True) as connection:
        await connection.aconnect()
    assert not connection.connected


async def test_a_channel_of_a_connection_of_the_pool(pool: Any) -> None:
    async with pool.aacquire_channel() as (connection, channel):
        assert connection.default_channel is channel
        assert _in_use(pool) == 1
        async with pool.aacquire_channel(block=True) as (other, _):
            assert other is not connection
            with pytest.raises(ConnectionLimitExceeded):
                async with pool.aacquire_channel():
                    pass
    assert _in_use(pool) == 0


async def test_resizing(pool: Any) -> None:
    await pool.aresize(3)
    assert pool.limit == 3
    await pool.aset_limit(4)
    assert pool.limit == 4
    held = await pool.aacquire()
    with pytest.raises(RuntimeError):
        await pool.aresize(1)
    await pool.aresize(1, ignore_errors=True)
    await held.arelease()


async def test_disposal(pool: Any) -> None:
    first, second = await pool.aacquire(), await pool.aacquire()
    await first.aconnect()
    await second.aconnect()
    await pool.aclose_resource(first)
    await pool.acollect_resource(second)
    assert not first.connected
    assert not second.connected
    await pool.areplace(first)
    await pool.aforce_close_all()
    with pytest.raises(RuntimeError):
        await pool.aacquire()


async def test_channels(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        pool = connection.ChannelPool(limit=1)
        channel = await pool.aacquire()
        assert await pool.aprepare(channel) is channel
        wait = asyncio.ensure_future(_hold(pool.aacquire(block=True, timeout=30)))
        await asyncio.sleep(0.05)
        # Waiting for a channel must not keep others from the connection.
        await asyncio.wait_for(connection.adefault_channel(), 30)
        await pool.arelease(channel)
        assert await wait is channel


@pytest.fixture
def producers(pool: Any) -> Any:
    return ProducerPool(pool, limit=3)


async def test_producers(producers: Any, unique: str) -> None:
    async with producers.aacquire(block=True) as producer:
        await producer.apublish("x", routing_key=unique)
        assert _in_use(producers) == _in_use(producers.connections) == 1
    assert _in_use(producers) == _in_use(producers.connections) == 0
    producer = await producers.acreate_producer()
    assert _in_use(producers.connections) == 1
    await producers.arelease(producer)
    assert await producers.aprepare(producer) is producer
    assert _in_use(producers.connections) == 1
    producers.release(producer)


async def test_a_producer_waits_for_a_connection_without_a_thread(
    producers: Any,
) -> None:
    connections = producers.connections
    held = [await connections.aacquire() for _ in range(2)]
    with pytest.raises(LimitExceeded):
        await producers.aacquire(block=True, timeout=0.1)
    waits = [asyncio.ensure_future(_hold(producers.aacquire(True))) for _ in range(3)]
    await asyncio.sleep(0.05)
    waits[1].cancel()
    for connection in held:
        await connection.arelease()
    got = [await waits[0], await waits[2]]
    assert len({id(producer.__connection__) for producer in got}) == 2
    for producer in got:
        producer.release()
    assert _in_use(producers) == _in_use(connections) == 0


async def test_no_connection_goes_to_two_producers(producers: Any) -> None:
    """Upstream would release a producer's last connection for a second time."""
    connections = producers.connections
    async with producers.aacquire(block=True):
        pass
    held = [await connections.aacquire() for _ in range(2)]
    for _ in range(3):
        with pytest.raises(LimitExceeded):
            await producers.aacquire(block=True, timeout=0.01)
    for connection in held:
        connection.release()
    free = connections._resource.queue
    assert len(free) == len({id(one) for one in free}) == 2


async def test_threads_and_coroutines_share_a_pool(pool: Any) -> None:
    held = [await pool.aacquire() for _ in range(2)]
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(block=True)))
    thread.start()
    wait = asyncio.ensure_future(_hold(pool.aacquire(block=True)))
    await asyncio.sleep(0.05)
    for connection in held:
        connection.release()
    got.append(await asyncio.wait_for(wait, 30))
    thread.join(30)
    assert {id(one) for one in got} == {id(one) for one in held}


async def test_the_limit_of_all_pools() -> None:
    before = pools.get_limit()
    try:
        assert await pools.aset_limit(before + 1) == before + 1
        assert pools.get_limit() == before + 1
    finally:
        pools.set_limit(before)
    group = pools.connections[Connection("memory://")]
    await pools.areset()
    assert group._closed
    assert not pools.connections


def test_every_pool_has_the_twins_of_its_base() -> None:
    for cls in (Resource, ProducerPool):
        assert "aacquire" in vars(cls)
