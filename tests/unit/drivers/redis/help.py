"""A server that says what the test wants, and shorthands."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import redis
from celery import Celery

from celery_async_bridge.core.registry import Looks
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.drivers.redis import feeds as module
from celery_async_bridge.drivers.redis.address import Address, address_of
from celery_async_bridge.drivers.redis.ear import ears
from celery_async_bridge.drivers.redis.feeds import feed_for
from celery_async_bridge.drivers.redis.mux import Mux
from celery_async_bridge.drivers.redis.pack import pack, pack_all
from celery_async_bridge.mixins.celery._poller import Failure, Watch
from celery_async_bridge.mixins.celery._sources import StoreSource
from tests.unit.core.help import until

MakeApp = Callable[..., Celery]
#: Seconds, longer than any test.
NEVER = 1000.0

_OK = b"+OK\r\n"
_HANDSHAKE = {b"CLIENT", b"SELECT", b"AUTH"}


def one(*args: Any) -> bytes:
    """The bytes of a command."""
    return pack(args).data


def many(*commands: tuple[Any, ...]) -> tuple[bytes, int]:
    """The bytes of commands that stay together, and how many there are."""
    return pack_all(commands).data, len(commands)


def bulk(value: bytes) -> bytes:
    """A reply."""
    return b"$%d\r\n%s\r\n" % (len(value), value)


def address(pool: Any) -> Address:
    """The address of a pool that has one."""
    found = address_of(pool)
    assert found is not None
    return found


class Pools:
    """Makes redis-py pools and takes them down again."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self._made: list[redis.ConnectionPool] = []

    @property
    def other_url(self) -> str:
        """Another database of the server."""
        return self.url.rpartition("/")[0] + "/3"

    def make(self, cls: Any = redis.ConnectionPool, **kwargs: Any) -> Any:
        """Make a pool; its connections have the name of the test."""
        url = kwargs.pop("url", self.url)
        pool = cls.from_url(url, **{"client_name": self.name, **kwargs})
        self._made.append(pool)
        return pool

    def client(self, **kwargs: Any) -> Any:
        """Make a client on a pool of its own."""
        return redis.Redis(connection_pool=self.make(**kwargs))

    def close(self) -> None:
        """Close what their sync use has opened."""
        for pool in self._made:
            pool.disconnect()


class Watcher:
    """Asks the server about the connections of one name."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self._name = name

    def now(self) -> list[dict[str, str]]:
        """The connections of the test, in a sync test."""
        everyone: list[dict[str, str]] = self.client.client_list()
        return [entry for entry in everyone if entry["name"] == self._name]

    async def connections(self) -> list[dict[str, str]]:
        """The connections of the test."""
        return await asyncio.to_thread(self.now)

    async def count(self) -> int:
        """How many there are."""
        return len(await self.connections())

    async def settles(self, count: int, seconds: float = 5.0) -> None:
        """Wait until there are so many."""
        end = time.monotonic() + seconds
        while (found := await self.count()) != count:
            assert time.monotonic() < end, f"{found} connections, not {count}"
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Have the server drop them all."""
        for entry in await self.connections():
            await asyncio.to_thread(self.client.client_kill, entry["addr"])

    async def ask(self, name: str, *args: Any) -> Any:
        """Send a command over the connection of its own."""
        return await asyncio.to_thread(self.client.execute_command, name, *args)


async def call(fn: Callable[..., Any]) -> Any:
    """Run sync code in a trampoline."""
    return await spawn(fn)


async def outcome(awaitable: Any) -> Any:
    """What something returns, or the error that it raises."""
    try:
        return await asyncio.wait_for(awaitable, 10)
    except Exception as exc:
        return exc


@asynccontextmanager
async def a_mux(pool: Any, limit: int = 512) -> AsyncIterator[Mux]:
    """A connected multiplexer."""
    mux = Mux(address(pool), limit)
    try:
        await mux.ready()
        yield mux
    finally:
        await mux.aclose()


class Peer:
    """One connection to the fake server."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        #: What came in, without the handshake.
        self.commands: list[list[bytes]] = []
        self.closed = False

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    def reset(self) -> None:
        """Go away without a good-bye."""
        self.writer.transport.abort()


Answer = Callable[[Peer, list[bytes]], "bytes | None"]


class FakeServer:
    """Speaks RESP; what it answers is the test's affair."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.peers: list[Peer] = []
        #: Seconds before a new connection is heard.
        self.delay = 0.0
        #: Whether the handshake is answered.
        self.polite = True
        #: Commands of the handshake after which the server leaves.
        self.leaves_after = 0
        self.handshakes = 0

    @property
    def peer(self) -> Peer:
        """The latest connection."""
        return self.peers[-1]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take a connection."""
        peer = Peer(writer)
        self.peers.append(peer)
        parser = hiredis.Reader()
        try:
            await asyncio.sleep(self.delay)
            while data := await reader.read(1 << 20):
                parser.feed(data)
                while command := parser.gets():
                    self._take(peer, command)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            peer.closed = True
            writer.close()

    def _take(self, peer: Peer, command: list[bytes]) -> None:
        if command[0].upper() in _HANDSHAKE:
            self.handshakes += 1
            if self.polite:
                peer.say(_OK)
            if self.handshakes == self.leaves_after:
                peer.writer.close()
            return
        peer.commands.append(command)
        reply = self.answer(peer, command)
        if reply:
            peer.say(reply)


def plain(pools: Pools, server: FakeServer, **kwargs: Any) -> Any:
    """A pool to a fake server, with the handshake that it knows.

    A short `socket_timeout` is for replies alone: for redis-py it would limit
    connecting as well, which may take that long on a busy machine.
    """
    return pools.make(
        **{"url": server.url, "protocol": 2, "socket_connect_timeout": 20, **kwargs}
    )


def silent(peer: Peer, command: list[bytes]) -> None:
    """Answer nothing."""


def echo(peer: Peer, command: list[bytes]) -> bytes:
    """Answer with the last argument."""
    return bulk(command[-1])


@asynccontextmanager
async def fake_server(answer: Answer = silent) -> AsyncIterator[FakeServer]:
    """Run one in the loop of the test."""
    fake = FakeServer(answer)
    tasks: set[asyncio.Task[None]] = set()

    def taken(reader: Any, writer: Any) -> None:
        task = asyncio.ensure_future(fake.serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for peer in fake.peers:
            peer.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def collect() -> None:
    """Collect garbage, so that what was forgotten complains now."""
    for _ in range(3):
        gc.collect()


def channel_of(app: Celery, task_id: str) -> str:
    """Where the results of a task are published."""
    backend: Any = app.backend
    key = backend.get_key_for_task(task_id)
    return key.decode() if isinstance(key, bytes) else str(key)


async def store(
    app: Celery, task_id: str, value: Any, state: str = "SUCCESS", **kwargs: Any
) -> None:
    """Store a state, as a worker does."""
    backend: Any = app.backend
    await backend.astore_result(task_id, value, state, **kwargs)


def waits(app: Celery, task_id: str, timeout: float = 30.0) -> asyncio.Task[Any]:
    """Wait for a result."""
    result: Any = app.AsyncResult(task_id)
    return asyncio.ensure_future(result.aget(timeout=timeout))


async def listens(watcher: Watcher, app: Celery, task_id: str, count: int = 1) -> None:
    """Wait until the server knows of so many subscriptions."""
    channel = channel_of(app, task_id)
    for _ in range(1000):
        if (await watcher.ask("PUBSUB", "NUMSUB", channel))[1] == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not {count} subscriptions")


def feeds() -> int:
    """How many feeds the live loops have."""
    return sum(len(found) for found in module._local.peek())


async def is_idle() -> None:
    """Wait until nothing is left of all waits but the socket."""
    await until(lambda: feeds() == 0 and len(asyncio.all_tasks()) == 1)
    assert sum(len(ear) for ear in ears()) == 0
    assert all(not ear.on_back for ear in ears())


class Bench:
    """A feed whose looks the test makes itself."""

    def __init__(self, backend: Any, fetch: Any, *, decodes: bool = False) -> None:
        decode = StoreSource(backend, own=False).decode if decodes else None
        looks = Looks(fetch, Failure, decode)
        feed = feed_for(backend, object(), lambda: looks)
        assert feed is not None
        self.feed = feed

    def watch(self, *ids: str, every: bool = False, timeout: float = 10) -> Watch:
        """Wait for tasks."""
        watch = Watch(ids, timeout=timeout, every=every)
        self.feed.join(watch)
        return watch


async def write_silently(app: Celery, watcher: Watcher, task_id: str) -> None:
    """Store a result without a word about it."""
    backend: Any = app.backend
    meta = {"status": "SUCCESS", "result": "found", "task_id": task_id}
    await watcher.ask("SET", channel_of(app, task_id), backend.encode(meta))
