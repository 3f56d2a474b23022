"""The pools of redis-py, with the bridge and without it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kombu
import pytest
import redis
import redis.connection

from celery_async_bridge.core.registry import driver_for
from celery_async_bridge.core.route import Endpoint
from celery_async_bridge.drivers.redis import RedisDriver
from celery_async_bridge.drivers.redis.virtual import VirtualConnection
from celery_async_bridge.install import install, journal, uninstall
from tests.unit.core.help import run
from tests.unit.drivers.redis.help import Pools, Watcher, call

POOLS = (redis.ConnectionPool, redis.BlockingConnectionPool)


@pytest.mark.parametrize("cls", POOLS)
async def test_a_call_on_the_loop_shares_its_connection(
    pools: Pools, unique: str, watcher: Watcher, cls: Any
) -> None:
    first, second = pools.client(cls=cls), pools.client(cls=cls, socket_timeout=7)
    await asyncio.gather(
        *(call(client.ping) for client in (first, second) for _ in range(50))
    )
    assert await watcher.count() == 1
    for client in (first, second):
        pool = client.connection_pool
        assert pool._available_connections == [] if cls is POOLS[0] else True
        connection = await call(pool.get_connection)
        assert type(connection) is VirtualConnection
        await call(lambda pool=pool, it=connection: pool.release(it))
    # Nothing of ours was put into them.
    for client in (first, second):
        connection = await asyncio.to_thread(client.connection_pool.get_connection)
        assert type(connection) is redis.Connection
        await asyncio.to_thread(client.connection_pool.release, connection)


async def test_a_bounded_pool_is_not_used_up(pools: Pools) -> None:
    client = pools.client(
        cls=redis.BlockingConnectionPool, max_connections=1, timeout=1
    )
    found = await asyncio.gather(
        *(call(lambda n=n: client.echo(str(n))) for n in range(50))
    )
    assert found == [b"%d" % n for n in range(50)]


@pytest.mark.parametrize("cls", POOLS)
async def test_threads_use_the_same_pool_as_ever(
    pools: Pools, unique: str, watcher: Watcher, cls: Any
) -> None:
    client = pools.client(cls=cls)
    kinds: list[type] = []

    def sync() -> None:
        for number in range(100):
            connection = client.connection_pool.get_connection()
            kinds.append(type(connection))
            client.connection_pool.release(connection)
            client.rpush(f"{unique}-thread", number)

    thread = threading.Thread(target=sync)
    thread.start()
    for number in range(100):
        await call(lambda n=number: client.rpush(f"{unique}-loop", n))
    await asyncio.to_thread(thread.join)
    assert set(kinds) == {redis.Connection}
    for name in ("thread", "loop"):
        entries = await call(lambda n=name: client.lrange(f"{unique}-{n}", 0, -1))
        assert entries == [b"%d" % n for n in range(100)]
    assert await watcher.count() == 2


def test_sync_use_on_the_loops_own_thread_is_sync(pools: Pools) -> None:
    client = pools.client()
    assert client.ping()
    connection = client.connection_pool.get_connection()
    assert type(connection) is redis.Connection
    client.connection_pool.release(connection)


async def test_a_prefix_of_keys(redis_url: str, unique: str, watcher: Watcher) -> None:
    options = {"global_keyprefix": f"{unique}:"}

    def work() -> int:
        with kombu.Connection(redis_url, transport_options=options) as connection:
            channel: Any = connection.default_channel
            queue: Any = kombu.Queue("q", channel=channel)
            queue.declare()
            producer: Any = kombu.Producer(channel)
            producer.publish({"a": 1}, routing_key="q")
            return int(channel._size("q"))

    assert await call(work) == 1
    names = await watcher.ask("KEYS", f"*{unique}*")
    assert names == [f"{unique}:q".encode()]


async def test_what_a_connection_is_left_with_after_errors(
    pools: Pools, watcher: Watcher
) -> None:
    client = pools.client()

    def fails() -> None:
        connection = client.connection_pool.get_connection()
        try:
            connection.send_command("ECHO", "never read")
            raise KeyError
        finally:
            client.connection_pool.release(connection)

    for _ in range(3):
        with pytest.raises(KeyError):
            await call(fails)
    assert await call(lambda: client.echo("x")) == b"x"
    assert await watcher.count() == 1


# -- the driver -----------------------------------------------------------------------


def test_what_the_driver_says_of_itself() -> None:
    driver: Any = driver_for("redis", "broker")
    assert isinstance(driver, RedisDriver)
    assert driver.suspends
    assert driver.waits == {"broker"}
    assert driver_for("redis", "backend") is driver


async def test_its_status(pools: Pools) -> None:
    driver = RedisDriver()
    assert driver.status() == []
    client = pools.client()
    await call(client.ping)
    (state,) = driver.status()
    assert state == {"use": "calls", "up": True, "opened": 1}
    assert pools.url not in str(state)


async def test_what_waits_is_not_its_affair(redis_url: str) -> None:
    driver = RedisDriver()
    with pytest.raises(NotImplementedError):
        await driver.wait(None, "id", None)


def test_a_connection_that_sync_code_drains_is_for_threads(
    redis_url: str, unique: str
) -> None:
    driver = RedisDriver()

    def takes(target: Any) -> bool:
        return driver.takes(Endpoint("broker", "redis", "key", "label", target))

    with kombu.Connection(redis_url) as connection:
        assert takes(connection)
        channel: Any = connection.channel()
        assert takes(connection)
        queue: Any = kombu.Queue(unique, channel=channel)
        with kombu.Consumer(channel, [queue]):
            assert takes(connection)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.01)
            # Its socket waits for a message now.
            assert not takes(connection)
        queue.delete()


def _rows() -> dict[str, Any]:
    import celery.backends.redis
    import kombu.transport.redis
    from celery import Celery

    owners = (
        *POOLS,
        kombu.transport.redis.Channel,
        vars(celery.backends.redis)["ResultConsumer"],
        Celery,
    )
    return {
        f"{owner.__name__}.{name}": value
        for owner in owners
        for name, value in vars(owner).items()
        if not name.startswith("__") or name == "__init__"
    }


def test_uninstall_puts_everything_back() -> None:
    assert journal() is not None
    with_it = _rows()
    uninstall()
    try:
        without = _rows()
        install()
        again = _rows()
    finally:
        install()
    changed = {name for name in without if with_it[name] is not without[name]}
    assert {
        "ConnectionPool.get_connection",
        "ConnectionPool.release",
        "BlockingConnectionPool.get_connection",
        "BlockingConnectionPool.release",
        "ResultConsumer.consume_from",
        "ResultConsumer.cancel_for",
        "ResultConsumer.on_wait_for_pending",
        "Celery.producer_pool",
    } <= changed
    assert changed == {name for name in without if again[name] is not without[name]}


def test_the_pools_are_the_very_same_as_before() -> None:
    done = run(
        """
import redis, redis.asyncio
pools = redis.ConnectionPool, redis.BlockingConnectionPool
before = [dict(vars(cls)) for cls in pools]
from celery_async_bridge.core import registry
from celery_async_bridge.drivers.redis import RedisDriver
registry.register("redis", RedisDriver())
import celery_async_bridge
celery_async_bridge.install()
assert [dict(vars(cls)) for cls in pools] != before
celery_async_bridge.uninstall()
assert [dict(vars(cls)) for cls in pools] == before
assert [list(vars(cls)) for cls in pools] == [list(one) for one in before]
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
