"""Which server a redis-py pool points at, and how to connect to it on the loop.

The values are those that Kombu or Celery have resolved and given to the pool; URLs are
never read again here. Connecting (TLS, AUTH, HELLO, SELECT, Sentinel look-up) is
`redis.asyncio`'s; afterwards its transport is ours.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import redis
import redis.asyncio.connection as native
import redis.asyncio.sentinel as native_sentinel
import redis.sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

__all__ = ("PATIENCE", "Address", "Taker", "address_of")

#: Seconds for connecting, and without any reply, where the user has set no timeout.
PATIENCE = 10.0

#: Each sync connection class and the native one that takes its place; Kombu derives a
#: class of its own per channel, so the first base that is listed counts.
_CLASSES: dict[type, type] = {
    redis.sentinel.SentinelManagedSSLConnection: (
        native_sentinel.SentinelManagedSSLConnection
    ),
    redis.sentinel.SentinelManagedConnection: native_sentinel.SentinelManagedConnection,
    redis.UnixDomainSocketConnection: native.UnixDomainSocketConnection,
    redis.SSLConnection: native.SSLConnection,
    redis.Connection: native.Connection,
}
#: What a derived class may define without changing how it connects or speaks.
_HARMLESS = frozenset({"disconnect"})

#: Arguments that say nothing about which server is meant, or in whose name: timeouts,
#: retries, decoding (done above), and objects that redis-py makes anew for each pool.
_NOT_IDENTITY = frozenset(
    {
        "cache",
        "cache_config",
        "command_packer",
        "connection_pool",
        "decode_responses",
        "driver_info",
        "encoder_class",
        "encoding",
        "encoding_errors",
        "event_dispatcher",
        "health_check_interval",
        "himport_registry",
        "legacy_responses",
        "lib_name",
        "lib_version",
        "maint_notifications_config",
        "maint_notifications_pool_handler",
        "maintenance_notification_hash",
        "maintenance_state",
        "orig_host_address",
        "orig_socket_connect_timeout",
        "orig_socket_timeout",
        "oss_cluster_maint_notifications_handler",
        "parser_class",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_read_size",
        "socket_timeout",
    }
)
#: What the native class is given besides what identifies the server.
_TUNING = frozenset(
    {"socket_connect_timeout", "driver_info", "lib_name", "lib_version"}
)


class Taker(Protocol):
    """What takes over a transport that redis-py has connected."""

    def attach(self, transport: asyncio.Transport, received: bytes) -> None:
        """Take it, with what it has received already."""


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """A server, as one pool of redis-py names it.

    Attributes:
        key: equal for all pools that may share a connection.
        stall: seconds without any reply after which the connection is given up.
        managed: whether Sentinel says where the server is.
    """

    key: Hashable
    stall: float
    managed: bool
    make: Callable[[], Any] = field(repr=False)
    connecting: float = PATIENCE

    async def open(self, taker: Taker) -> Any:
        """Connect and hand the transport to `taker`.

        Returns:
            what must live as long as the connection.

        Raises:
            redis.exceptions.RedisError: what redis-py raises.
        """
        connection = await self.own()
        reader, writer = connection._reader, connection._writer
        # It would warn about a writer that nobody closed, and close it.
        connection._reader = connection._writer = None
        if reader.at_eof() or writer.transport.is_closing():
            # It would never hear of an end that has been announced already.
            writer.transport.abort()
            raise ConnectionError("Connection closed by server.")
        taker.attach(writer.transport, bytes(reader._buffer))
        return writer

    async def own(self) -> Any:
        """Return a `redis.asyncio` connection of one's own, for what must block.

        Raises:
            redis.exceptions.RedisError: what redis-py raises.
        """
        connection = self.make()
        opening = asyncio.ensure_future(connection.connect())
        opening.add_done_callback(_heard)
        try:
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
            await asyncio.wait({opening}, timeout=self.connecting)
            if not opening.cancel():
                opening.result()
            else:
                raise RedisTimeout("Timeout connecting to server")
        except ConnectionError as exc:
            connection._close()
            raise _in_sync_words(exc) from exc.__cause__
        except GeneratorExit:
            opening.cancel()
            connection._close()
            raise
        except BaseException:
            opening.cancel()
            # A loop that ends must not be gone before the attempt is.
            await asyncio.wait({opening})
            connection._close()
            raise
        return connection


def _heard(opening: asyncio.Future[Any]) -> None:
    # Nobody waits for an attempt that was given up.
    if not opening.cancelled():
        opening.exception()


_REFUSED = re.compile(r"(\d+)\]?[^\[\]]*Connect call failed")
_WHERE = re.compile(r"connecting to (\S+?)\.(?: |$)")


def _in_sync_words(exc: ConnectionError) -> ConnectionError:
    """Say why the connection failed as redis-py's sync client does."""
    text = str(exc)
    numbers, where = _REFUSED.findall(text), _WHERE.search(text)
    if not numbers or where is None:
        return exc
    # Of a name with several addresses the sync client reports the last.
    number = int(numbers[-1])
    return type(exc)(f"Error {number} connecting to {where[1]}. {os.strerror(number)}.")


def _native_class(cls: type) -> type | None:
    """Return the native class for a sync one; None if it has ways of its own."""
    for base in cls.__mro__:
        if base in _CLASSES:
            return _CLASSES[base]
        if any(inspect.isfunction(v) for k, v in vars(base).items() if _tells(k)):
            return None
    return None


def _tells(name: str) -> bool:
    return name not in _HARMLESS


@cache
def _accepted(cls: type) -> frozenset[str]:
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            names.update(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return frozenset(names - {"self", "args", "kwargs"})


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((str(k), _frozen(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(map(_frozen, value))
    if value is None or isinstance(value, (str, bytes, int, float, type)):
        return value
    # Credential providers and the like: the same object, the same identity. It lives
    # as long as the address, so its id is not given away.
    return id(value)


_known: WeakKeyDictionary[Any, Address | None] = WeakKeyDictionary()


def address_of(pool: Any) -> Address | None:
    """Return the address of a sync pool; None if only its own code can connect."""
    try:
        return _known[pool]
    except KeyError:
        address = _known[pool] = _read(pool)
        return address


def _read(pool: Any) -> Address | None:
    cls = _native_class(pool.connection_class)
    given: dict[str, Any] = dict(pool.connection_kwargs)
    if cls is None or given.get("redis_connect_func") is not None:
        return None
    if given.get("cache") or given.get("cache_config"):
        return None
    accepted = _accepted(cls)
    identity = {
        name: value
        for name, value in given.items()
        if name not in _NOT_IDENTITY and value is not None
    }
    if not identity.keys() <= accepted | {"connection_pool"}:
        return None
    tuning = {
        name: given[name]
        for name in _TUNING & accepted & given.keys()
        if given[name] is not None
    }
    arguments = {**identity, **tuning, **_quiet(accepted)}
    manager = getattr(pool, "sentinel_manager", None)
    key: tuple[Hashable, ...] = (cls, _frozen(identity))
    make: Callable[[], Any]
    if manager is None:

        def make() -> Any:
            return cls(**arguments)

    else:
        nodes = [_node(one) for one in manager.sentinels]
        key += (pool.service_name, pool.is_master, _frozen([n[:2] for n in nodes]))
        make = _sentinel(pool, manager, nodes, cls, arguments)
    timeout = given.get("socket_timeout")
    return Address(
        key=key,
        stall=float(timeout or PATIENCE),
        managed=manager is not None and bool(pool.is_master),
        make=make,
        connecting=float(given.get("socket_connect_timeout") or timeout or PATIENCE),
    )


def _quiet(accepted: frozenset[str]) -> dict[str, Any]:
    """Arguments that switch off what must not happen beneath upstream's own rules."""
    quiet: dict[str, Any] = {"socket_timeout": None}
    if "driver_info" in accepted:
        quiet["driver_info"] = _driver_info()
    config = getattr(redis, "maint_notifications", None)
    if "maint_notifications_config" in accepted and config is not None:
        quiet["maint_notifications_config"] = config.MaintNotificationsConfig(
            enabled=False
        )
    return quiet


@cache
def _driver_info() -> Any:
    # Made once: redis-py would read its package's metadata for every connection.
    info = redis.DriverInfo()
    return info.add_upstream_driver(
        "celery-async-bridge", version("celery-async-bridge")
    )


def _node(sentinel: Any) -> tuple[str, int, dict[str, Any]]:
    kwargs = sentinel.connection_pool.connection_kwargs
    return kwargs["host"], kwargs["port"], kwargs


def _sentinel(
    pool: Any,
    manager: Any,
    nodes: list[tuple[str, int, dict[str, Any]]],
    cls: type,
    arguments: dict[str, Any],
) -> Callable[[], Any]:
    """Return a factory of connections to the master that the sentinels name.

    Sentinels and pool are made anew for each connection: theirs belong to a loop.
    """
    service, is_master = pool.service_name, pool.is_master
    least = manager.min_other_sentinels
    options = {
        "socket_timeout": PATIENCE / 4,
        **{k: v for k, v in (manager.sentinel_kwargs or {}).items() if v is not None},
        # The next sentinel is asked instead; the user's own would be a sync object.
        "retry": Retry(NoBackoff(), 0),
    }

    def make() -> Any:
        asked: Any = native_sentinel.Sentinel(  # type: ignore[no-untyped-call]
            [node[:2] for node in nodes],
            min_other_sentinels=least,
            sentinel_kwargs=options,
        )
        found: Any = native_sentinel.SentinelConnectionPool(  # type: ignore[no-untyped-call]
            service, asked, is_master=is_master, connection_class=cls, **arguments
        )
        return _Managed(found, asked)

    return make


class _Managed:
    """A connection that Sentinel places, with the pool that it asks for the place."""

    def __init__(self, pool: Any, asked: Any) -> None:
        self._pool = pool
        self._asked = asked
        self._connection = pool.make_connection()

    async def connect(self) -> None:
        """Ask the sentinels and connect to the server that they name."""
        try:
            await self._connection.connect()
        finally:
            for sentinel in self._asked.sentinels:
                await sentinel.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"_reader", "_writer"}:
            setattr(self._connection, name, value)
        else:
            super().__setattr__(name, value)
