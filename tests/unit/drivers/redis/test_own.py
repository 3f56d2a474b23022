"""Commands that block, or change the connection, get a socket of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError, WatchError
from redis.exceptions import TimeoutError as RedisTimeout

from celery_async_bridge.drivers.redis.mux import muxes
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    Peer,
    Pools,
    Watcher,
    call,
    echo,
    fake_server,
    outcome,
)


@pytest.fixture
def client(pools: Pools) -> Any:
    return pools.client()


def in_step() -> None:
    """The connection of the loop was never disturbed."""
    (mux,) = [one for one in muxes() if one.generation]
    assert (mux.generation, mux.in_flight) == (1, 0)


@pytest.mark.parametrize("name", ["blpop", "brpop"])
async def test_a_call_that_blocks_is_in_nobodys_way(
    client: Any, unique: str, watcher: Watcher, name: str
) -> None:
    blocked = asyncio.ensure_future(call(lambda: getattr(client, name)(unique, 30)))
    await watcher.settles(2)
    values = await asyncio.gather(
        *(call(lambda n=n: client.echo(str(n))) for n in range(50))
    )
    assert values == [b"%d" % n for n in range(50)]
    assert not blocked.done()
    await call(lambda: client.rpush(unique, "x"))
    assert await blocked == (unique.encode(), b"x")
    await watcher.settles(1)
    in_step()


async def test_nothing_came(client: Any, unique: str, watcher: Watcher) -> None:
    assert await call(lambda: client.blpop(unique, 0.05)) is None
    await watcher.settles(1)


async def test_its_replies_are_decoded_as_others_are(pools: Pools, unique: str) -> None:
    client = pools.client(decode_responses=True)
    await call(lambda: client.rpush(unique, "ü"))
    assert await call(lambda: client.blpop(unique, 5)) == (unique, "ü")


async def test_blocking_commands_in_pipelines(client: Any, unique: str) -> None:
    def work(transaction: bool) -> Any:
        with client.pipeline(transaction=transaction) as pipe:
            pipe.rpush(unique, "x").blpop(unique, 1).llen(unique)
            return pipe.execute()

    for transaction in (True, False):
        assert await call(lambda t=transaction: work(t)) == [
            1,
            (unique.encode(), b"x"),
            0,
        ]
    in_step()


async def test_one_that_is_cancelled_closes_its_socket(
    client: Any, unique: str, watcher: Watcher
) -> None:
    task = asyncio.ensure_future(call(lambda: client.blpop(unique, 30)))
    await watcher.settles(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    await watcher.settles(1)
    # Nobody takes what comes now.
    await call(lambda: client.rpush(unique, "x"))
    assert await call(lambda: client.llen(unique)) == 1
    in_step()


async def test_one_whose_coroutine_is_closed_closes_its_socket(
    client: Any, unique: str, watcher: Watcher
) -> None:
    await call(client.ping)
    coroutine = call(lambda: client.blpop(unique, 30))

    async def drive() -> None:
        # By hand, as no task would drop it.
        future = coroutine.send(None)
        while await watcher.count() < 2:
            await asyncio.sleep(0.01)
            if future is None or future.done():
                future = coroutine.send(None)
        coroutine.close()

    await drive()
    await watcher.settles(1)


async def test_optimistic_transactions(client: Any, unique: str) -> None:
    await call(lambda: client.set(unique, 1))

    def double(pipe: Any) -> None:
        value = int(pipe.get(unique))
        pipe.multi()
        pipe.set(unique, value * 2)

    assert await call(lambda: client.transaction(double, unique)) == [True]
    assert await call(lambda: client.get(unique)) == b"2"
    in_step()


async def test_a_watched_key_that_changes(
    client: Any, unique: str, watcher: Watcher
) -> None:
    def work() -> Any:
        with client.pipeline() as pipe:
            pipe.watch(unique)
            client.set(unique, "meanwhile")
            pipe.multi()
            pipe.set(unique, "mine")
            return pipe.execute()

    with pytest.raises(WatchError):
        await call(work)
    assert await call(lambda: client.get(unique)) == b"meanwhile"
    await watcher.settles(1)


async def test_watching_callers_do_not_see_each_other(
    client: Any, unique: str, watcher: Watcher
) -> None:
    """Twenty increments by read and write, which only WATCH makes right."""

    def increment(pipe: Any) -> None:
        value = int(pipe.get(unique) or 0)
        pipe.multi()
        pipe.set(unique, value + 1)

    await asyncio.gather(
        *(call(lambda: client.transaction(increment, unique)) for _ in range(20))
    )
    assert await call(lambda: client.get(unique)) == b"20"
    await watcher.settles(1)


async def test_selecting_a_database_changes_it_for_nobody_else(
    client: Any, unique: str
) -> None:
    await call(lambda: client.set(unique, "here"))
    await call(lambda: client.execute_command("SELECT", 3))
    assert await call(lambda: client.get(unique)) == b"here"

    def hidden() -> Any:
        with client.pipeline() as pipe:
            pipe.execute_command("SELECT", 3)
            return pipe.execute()

    await call(hidden)
    assert await call(lambda: client.get(unique)) == b"here"


async def test_switching_replies_off_does_it_for_nobody_else(
    client: Any, unique: str
) -> None:
    await call(client.ping)

    def off() -> None:
        connection = client.connection_pool.get_connection()
        connection.send_command("CLIENT", "REPLY", "OFF")
        client.connection_pool.release(connection)

    await call(off)
    assert await asyncio.wait_for(call(lambda: client.echo("x")), 5) == b"x"


# -- connecting -----------------------------------------------------------------------


async def test_no_socket_is_left_where_none_could_be_had(pools: Pools) -> None:
    async with fake_server(echo) as server:
        client = pools.client(
            url=server.url, protocol=2, socket_connect_timeout=1, socket_timeout=9
        )
        await call(lambda: client.echo("x"))
        server.polite = False
        error = await outcome(call(lambda: client.blpop("k", 5)))
        assert isinstance(error, RedisTimeout)
        await until(lambda: server.peers[-1].closed)
        assert len(server.peers) == 2
        assert not server.peers[0].closed


async def test_a_caller_that_leaves_while_it_connects(pools: Pools) -> None:
    async with fake_server(echo) as server:
        client = pools.client(url=server.url, protocol=2)
        await call(lambda: client.echo("x"))
        server.polite = False
        task = asyncio.ensure_future(call(lambda: client.blpop("k", 5)))
        await until(lambda: len(server.peers) == 2)
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.peers[-1].closed)


async def test_its_socket_breaks(pools: Pools) -> None:
    def drop(peer: Peer, command: list[bytes]) -> bytes | None:
        if command[0] == b"BLPOP":
            peer.reset()
            return None
        return echo(peer, command)

    async with fake_server(drop) as server:
        client = pools.client(url=server.url, protocol=2)
        assert isinstance(
            await outcome(call(lambda: client.blpop("k", 5))), ConnectionError
        )
        assert await call(lambda: client.echo("x")) == b"x"
        sent = [c[0] for peer in server.peers for c in peer.commands]
        assert sent.count(b"BLPOP") == 1
