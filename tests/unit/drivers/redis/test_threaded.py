"""A connection class with a `connect` of its own: no native one may take its place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import redis
from redis.exceptions import ConnectionError, DataError

from celery_async_bridge.drivers.redis.mux import muxes
from celery_async_bridge.drivers.redis.threaded import ThreadedConnection
from celery_async_bridge.testing.tripwire import tripwire
from tests.unit.core.help import closed_port
from tests.unit.drivers.redis.help import (
    Pools,
    Watcher,
    call,
    echo,
    fake_server,
    outcome,
)


class Tunnelled(redis.Connection):
    """As one that goes through a proxy: only its own code can connect it."""

    threads: ClassVar[set[int]] = set()

    def _connect(self) -> Any:
        self.threads.add(threading.get_ident())
        return super()._connect()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def _never_blocks() -> Iterator[None]:
    """Fail a test that does I/O on the loop.

    The hand-over to a thread and the pool's book-keeping take locks for an instant.
    """
    with tripwire(strict=False) as wire:
        yield
    assert [trip for trip in wire.trips if trip.what != "a wait for a lock"] == []


@pytest.fixture
def client(pools: Pools) -> Any:
    Tunnelled.threads.clear()
    return pools.client(connection_class=Tunnelled)


async def test_it_works_beside_the_loop(client: Any, unique: str) -> None:
    def work() -> list[Any]:
        with client.pipeline() as pipe:
            pipe.rpush(unique, "a").llen(unique)
            piped = pipe.execute()
        return [client.echo("x"), piped, client.lrange(unique, 0, -1)]

    assert await call(work) == [b"x", [1, 1], [b"a"]]
    assert Tunnelled.threads
    assert threading.get_ident() not in Tunnelled.threads
    assert not any(mux.up for mux in muxes())


async def test_it_goes_back_to_its_pool(client: Any, watcher: Watcher) -> None:
    pool = client.connection_pool
    connection = await call(pool.get_connection)
    assert type(connection) is ThreadedConnection
    assert connection.host == connection.real.host
    await call(lambda: pool.release(connection))
    again = await call(pool.get_connection)
    assert again.real is connection.real
    await call(lambda: pool.release(again))
    await asyncio.gather(*(call(client.ping) for _ in range(3)))
    assert await watcher.count() <= 3


async def test_the_loop_goes_on_meanwhile(client: Any, unique: str) -> None:
    blocked = asyncio.ensure_future(call(lambda: client.blpop(unique, 5)))
    ticks = 0
    while ticks < 20:
        await asyncio.sleep(0.005)
        ticks += 1
    assert not blocked.done()
    await call(lambda: client.rpush(unique, "x"))
    assert await blocked == (unique.encode(), b"x")


async def test_its_errors_arrive(client: Any, unique: str) -> None:
    with pytest.raises(DataError):
        await call(lambda: client.set(unique, object()))
    await call(lambda: client.set(unique, "text"))
    with pytest.raises(redis.ResponseError):
        await call(lambda: client.lpush(unique, 1))
    assert await call(lambda: client.get(unique)) == b"text"


async def test_nobody_listens(pools: Pools) -> None:
    client = pools.client(
        url=f"redis://127.0.0.1:{closed_port()}/0", connection_class=Tunnelled
    )
    assert isinstance(await outcome(call(client.ping)), ConnectionError)


async def test_no_hidden_retries_and_no_sleep_between_them(pools: Pools) -> None:
    def drop(peer: Any, command: list[bytes]) -> bytes | None:
        if command[0] == b"ECHO":
            return echo(peer, command)
        peer.reset()
        return None

    async with fake_server(drop) as server:
        client = pools.client(
            url=server.url,
            protocol=2,
            connection_class=Tunnelled,
            retry_on_timeout=True,
        )
        await call(lambda: client.echo("x"))
        error = await outcome(call(lambda: client.rpush("k", "v")))
        assert isinstance(error, ConnectionError)
        sent = [command[0] for peer in server.peers for command in peer.commands]
        assert sent.count(b"RPUSH") == 1


async def test_a_thread_uses_it_as_ever(client: Any) -> None:
    connection = await asyncio.to_thread(client.connection_pool.get_connection)
    assert type(connection) is Tunnelled
    await asyncio.to_thread(client.connection_pool.release, connection)
