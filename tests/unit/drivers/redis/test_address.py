# The stubs of kombu and redis do not know what we look at.
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import kombu
import pytest
import redis
import redis.asyncio.connection as native
import redis.asyncio.sentinel as native_sentinel
import redis.sentinel
from celery import Celery
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from celery_async_bridge.drivers.redis import address as module
from celery_async_bridge.drivers.redis.address import PATIENCE, address_of
from celery_async_bridge.drivers.redis.mux import Mux
from tests.redis_servers import redis_server, tls_server
from tests.unit.drivers.redis.help import (
    Pools,
    Watcher,
    address,
    fake_server,
    one,
    outcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

URL = "redis://somewhere:7000/1"


def pool(url: str = URL, **kwargs: Any) -> Any:
    return redis.ConnectionPool.from_url(url, **kwargs)


def key(url: str = URL, **kwargs: Any) -> Any:
    return address(pool(url, **kwargs)).key


class Provider(redis.CredentialProvider):
    def get_credentials(self) -> tuple[str, str]:
        return "default", "no"


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"socket_timeout": 3},
        {"socket_connect_timeout": 3},
        {"socket_timeout": None},
        {"decode_responses": True},
        {"encoding": "latin-1"},
        {"health_check_interval": 7},
        {"retry": Retry(ConstantBackoff(1), 9)},
        {"retry_on_timeout": True},
        {"retry_on_error": [ConnectionError]},
        {"max_connections": 3},
        {"password": None},
        {"lib_name": "other"},
    ],
    ids=str,
)
def test_what_may_share_a_connection(other: dict[str, Any]) -> None:
    assert key(**other) == key()
    assert hash(key(**other)) == hash(key())


@pytest.mark.parametrize(
    "other",
    [
        {"url": "redis://somewhere:7000/2"},
        {"url": "redis://elsewhere:7000/1"},
        {"url": "redis://somewhere:7001/1"},
        {"url": "rediss://somewhere:7000/1"},
        {"url": "unix:///somewhere?db=1"},
        {"password": "secret"},
        {"username": "somebody", "password": "secret"},
        {"client_name": "me"},
        {"protocol": 3},
        {"credential_provider": Provider()},
        {"socket_keepalive": True},
        {"socket_keepalive_options": {1: 2}},
    ],
    ids=str,
)
def test_what_may_not(other: dict[str, Any]) -> None:
    assert key(**other) != key()
    if "credential_provider" not in other:
        assert key(**other) == key(**other)


def test_tls_settings_are_told_apart(tmp_path: Path) -> None:
    url = "rediss://somewhere:7000/1"
    assert key(url) == key(url)
    assert key(url, ssl_cert_reqs="none") != key(url)
    assert key(url, ssl_ca_certs="one") != key(url, ssl_ca_certs="two")


def test_a_provider_is_told_by_itself_not_by_its_class() -> None:
    mine, yours = Provider(), Provider()
    assert key(credential_provider=mine) == key(credential_provider=mine)
    assert key(credential_provider=mine) != key(credential_provider=yours)


def test_ten_pools_of_kombu_and_celery_are_one_address(
    redis_url: str, unique: str
) -> None:
    found = set()
    connections = [
        kombu.Connection(redis_url, transport_options={"socket_timeout": seconds})
        for seconds in (3, 4)
    ]
    for connection in connections:
        channels: list[Any] = [connection.channel() for _ in range(2)]
        found |= {address(channel.pool).key for channel in channels}
    for settings in ({}, {"redis_socket_timeout": 7.0}):
        app = Celery(unique, backend=redis_url, set_as_current=False)
        app.conf.update(settings)
        found.add(address(app.backend.client.connection_pool).key)  # type: ignore[attr-defined]
        app.backend.client.connection_pool.disconnect()  # type: ignore[attr-defined]
    for connection in connections:
        connection.release()
    assert len(found) == 1


def test_kombus_own_class_is_no_obstacle(redis_url: str) -> None:
    with kombu.Connection(redis_url) as connection:
        channel: Any = connection.channel()
        found = channel._get_pool(asynchronous=True)
        assert found.connection_class not in module._CLASSES
        assert address_of(found) is not None


def test_how_long() -> None:
    found = address(pool(socket_timeout=3, socket_connect_timeout=2))
    assert (found.stall, found.connecting) == (3, 2)
    found = address(pool(socket_timeout=3, socket_connect_timeout=None))
    assert (found.stall, found.connecting) == (3, 3)
    found = address(pool(socket_timeout=None, socket_connect_timeout=None))
    assert (found.stall, found.connecting) == (PATIENCE, PATIENCE)


class OwnConnect(redis.Connection):
    def _connect(self) -> Any:
        return super()._connect()


class Grandchild(OwnConnect):
    pass


class Harmless(redis.Connection):
    number = 3

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        super().disconnect(*args, **kwargs)


class Foreign:
    def __init__(self, **kwargs: Any) -> None: ...


@pytest.mark.parametrize("cls", [OwnConnect, Grandchild, Foreign])
def test_classes_with_ways_of_their_own(cls: Any) -> None:
    assert address_of(redis.ConnectionPool(connection_class=cls)) is None


def test_a_class_that_only_closes_differently() -> None:
    found = address(redis.ConnectionPool(connection_class=Harmless))
    assert found.key == address(redis.ConnectionPool()).key


@pytest.mark.parametrize(
    "kwargs",
    [
        {"redis_connect_func": lambda connection: None},
        {"cache": object()},
        {"something_new": 1},
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_arguments_that_only_upstream_understands(kwargs: dict[str, Any]) -> None:
    found = redis.ConnectionPool()
    found.connection_kwargs.update(kwargs)
    assert address_of(found) is None


def test_an_address_does_not_keep_its_pool() -> None:
    made = pool()
    first = address_of(made)
    assert address_of(made) is first
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_no_secret_in_its_repr() -> None:
    found = address(pool(client_name="me"))
    assert "make" not in repr(found)


# -- sentinel -------------------------------------------------------------------------


def managed(
    service: str = "it", ports: tuple[int, ...] = (26379, 26380), **kwargs: Any
) -> Any:
    manager: Any = redis.sentinel.Sentinel(
        [("localhost", port) for port in ports],
        sentinel_kwargs={"password": "sentinel's"},
        min_other_sentinels=1,
        **kwargs,
    )
    return manager.master_for(service, redis.Redis).connection_pool


def test_a_master_is_named_by_its_sentinels() -> None:
    found = address(managed(password="p", db=2))
    assert found.managed
    assert found.key == address(managed(password="p", db=2)).key
    assert found.key == address(managed(password="p", db=2, socket_timeout=9)).key
    for other in (
        managed(password="p", db=3),
        managed(password="q", db=2),
        managed("other", password="p", db=2),
        managed(ports=(1, 2), password="p", db=2),
    ):
        assert address(other).key != found.key


async def test_a_connection_to_a_master() -> None:
    connection = address(managed(password="p", db=2)).make()
    real = connection._connection
    assert type(real) is native_sentinel.SentinelManagedConnection
    assert (real.password, real.db) == ("p", 2)
    asked = connection._asked
    assert asked.min_other_sentinels == 1
    assert [node.connection_pool.connection_kwargs["port"] for node in asked.sentinels]
    for node in asked.sentinels:
        kwargs = node.connection_pool.connection_kwargs
        assert kwargs["password"] == "sentinel's"
        # One that is dead must not use up the time of the next.
        assert kwargs["socket_timeout"] < PATIENCE
        assert kwargs["retry"].get_retries() == 0


async def test_no_sentinel_answers() -> None:
    found = address(managed(ports=(1, 2)))
    mux = Mux(found, 512)
    assert isinstance(await outcome(mux.ready()), ConnectionError)


def test_a_slave_is_not_left_for_being_read_only() -> None:
    manager: Any = redis.sentinel.Sentinel([("localhost", 26379)])
    replica = address(manager.slave_for("it", redis.Redis).connection_pool)
    assert not replica.managed
    master = address(manager.master_for("it", redis.Redis).connection_pool)
    assert replica.key != master.key


# -- connecting -----------------------------------------------------------------------


async def test_name_and_database_are_those_of_the_pool(
    pools: Pools, watcher: Watcher
) -> None:
    mux = Mux(address(pools.make(url=pools.other_url)), 512)
    await mux.ready()
    (entry,) = await watcher.connections()
    assert entry["db"] == "3"
    await mux.aclose()
    await watcher.settles(0)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols(pools: Pools, watcher: Watcher, protocol: int) -> None:
    mux = Mux(address(pools.make(protocol=protocol)), 512)
    await mux.ready()
    found = await mux.push(one("CONFIG", "GET", "maxclients"))
    assert isinstance(found, dict if protocol == 3 else list)
    await mux.aclose()


async def test_what_is_said_in_the_name_of_a_provider(pools: Pools) -> None:
    class Fresh(redis.CredentialProvider):
        asked = 0

        def get_credentials(self) -> tuple[str, str]:
            self.asked += 1
            return "default", "wrong"

        async def get_credentials_async(self) -> tuple[str, str]:
            return self.get_credentials()

    async with fake_server() as server:
        provider = Fresh()
        mux = Mux(
            address(
                pools.make(url=server.url, credential_provider=provider, protocol=2)
            ),
            512,
        )
        await mux.ready()
        assert provider.asked == 1
        await mux.aclose()
        await mux.ready()
        assert provider.asked == 2  # a token may have changed
        await mux.aclose()


def test_the_native_class_of_each() -> None:
    assert key("redis://h")[0] is native.Connection
    assert key("rediss://h")[0] is native.SSLConnection
    assert key("unix:///h")[0] is native.UnixDomainSocketConnection


def _echoes(found: Any, run: Callable[..., bytes] = asyncio.run) -> bytes:
    async def main() -> bytes:
        mux = Mux(address(found), 512)
        await mux.ready()
        try:
            answer: bytes = await mux.push(one("ECHO", "x" * 100_000))
            return answer
        finally:
            await mux.aclose()

    return run(main())


def test_a_socket_in_the_file_system() -> None:
    with redis_server() as server:
        assert len(_echoes(pool(f"unix://{server.unix_socket}?db=2"))) == 100_000


def test_tls(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (server, files):
        url = f"rediss://127.0.0.1:{server.port}/2"
        assert len(_echoes(pool(url, ssl_ca_certs=str(files.authority)))) == 100_000
        with pytest.raises(ConnectionError):
            _echoes(pool(url))


def test_on_uvloop(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    # Recorded, not raised: raised where uvloop closes its handles, it never ends.
    run = pytest.importorskip("uvloop").run
    with tls_server(tmp_path) as (server, files):
        url = f"rediss://127.0.0.1:{server.port}/2"
        found = pool(url, ssl_ca_certs=str(files.authority))
        assert len(_echoes(found, run)) == 100_000
        with pytest.raises(ConnectionError):
            _echoes(pool(url), run)
    with redis_server() as server:
        for url in (f"unix://{server.unix_socket}?db=2", server.url):
            assert len(_echoes(pool(url), run)) == 100_000
    assert not [one for one in recwarn if one.category is ResourceWarning]
