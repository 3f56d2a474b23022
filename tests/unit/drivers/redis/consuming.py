"""Kombu on both sides: ours on the loop, and as it always was in a thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import kombu
import redis

from celery_async_bridge.drivers.redis.consume import desk_at
from celery_async_bridge.drivers.redis.intake import intake_of
from tests.unit.core.help import until


def queue(name: str, **options: Any) -> Any:
    """A queue that is reached without an exchange."""
    return kombu.Queue(name, kombu.Exchange(""), name, **options)


class Place:
    """One prefix of keys, seen as Kombu sees it and as the server does."""

    def __init__(self, url: str, unique: str, **options: Any) -> None:
        self.prefix = f"{unique}:"
        self.url = url
        self.options = {"global_keyprefix": self.prefix, **options}
        self.server: Any = redis.Redis.from_url(url)

    def connect(self) -> Any:
        """A connection that is not open."""
        return kombu.Connection(self.url, transport_options=self.options)

    async def ask(self, command: str, key: str, *args: Any) -> Any:
        """Ask the server about a key."""
        return await asyncio.to_thread(
            self.server.execute_command, command, self.prefix + key, *args
        )

    async def stock(self, work: Callable[[Any], Any]) -> Any:
        """Run sync code on a connection of its own, in a thread."""

        def run() -> Any:
            with self.connect() as connection:
                return work(connection)

        return await asyncio.to_thread(run)

    async def put(self, name: str, *bodies: Any, **options: Any) -> None:
        """Have a stock producer send messages to a queue."""

        def send(connection: Any) -> None:
            producer = connection.Producer()
            for body in bodies:
                producer.publish(body, exchange="", routing_key=name, **options)

        await self.stock(send)

    async def order(self, names: Iterable[str], count: int) -> list[Any]:
        """The bodies in the order in which a stock consumer takes them and acks."""
        found: list[Any] = []

        def receive(body: Any, message: Any) -> None:
            found.append(body)
            message.ack()

        def consume(connection: Any) -> None:
            queues = [queue(name) for name in names]
            with connection.Consumer(queues, callbacks=[receive]):
                while len(found) < count:
                    connection.drain_events(timeout=20)

        await self.stock(consume)
        return found

    async def take(self, name: str, count: int) -> list[tuple[Any, bool]]:
        """Have a stock consumer take and ack so many; the body, and if redelivered."""
        found: list[tuple[Any, bool]] = []

        def receive(body: Any, message: Any) -> None:
            found.append((body, bool(message.headers.get("redelivered"))))
            message.ack()

        def consume(connection: Any) -> None:
            end = time.monotonic() + 20
            with connection.Consumer([queue(name)], callbacks=[receive]):
                while len(found) < count and time.monotonic() < end:
                    # In short waits: in long ones it never restores anything.
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.1)

        await self.stock(consume)
        return found

    async def left(self, name: str) -> list[Any]:
        """The payloads in a list, the next one first."""
        return [
            json.loads(raw) for raw in (await self.ask("LRANGE", name, 0, -1))[::-1]
        ]

    async def unacked(self) -> dict[str, Any]:
        """What is noted as unacknowledged."""
        entries = await asyncio.to_thread(self.server.hgetall, f"{self.prefix}unacked")
        scores = await self.ask("ZRANGE", "unacked_index", 0, -1)
        noted = {tag.decode(): json.loads(entry) for tag, entry in entries.items()}
        assert {tag.decode() for tag in scores} == noted.keys()
        return noted

    async def age(self, seconds: float = 7200) -> None:
        """Make what is unacknowledged older."""
        for tag in await self.ask("ZRANGE", "unacked_index", 0, -1):
            await self.ask("ZINCRBY", "unacked_index", -seconds, tag)


async def eventually(
    ask: Callable[[], Awaitable[Any]], expected: Any, seconds: float = 20
) -> None:
    """Ask again and again until the answer is the expected one."""
    end = time.monotonic() + seconds
    while (found := await ask()) != expected:
        assert time.monotonic() < end, f"{found!r} and not {expected!r}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def channel_of(connection: Any) -> AsyncIterator[Any]:
    """Open a connection on the loop; its channel."""
    async with connection as opened:
        yield await opened.adefault_channel()


class Consumer:
    """A consumer on the loop and what it was given."""

    def __init__(self, connection: Any, consumer: Any) -> None:
        self.connection = connection
        self.consumer = consumer
        self.channel = consumer.channel
        self.bodies: list[Any] = []
        self.messages: list[Any] = []

    def receive(self, body: Any, message: Any) -> None:
        """Keep a message."""
        self.bodies.append(body)
        self.messages.append(message)

    async def drain(self, count: int = 1) -> list[Any]:
        """Wait for so many more; their bodies."""
        end = len(self.bodies) + count
        while len(self.bodies) < end:
            await self.connection.adrain_events(timeout=20)
        return self.bodies[-count:]


@asynccontextmanager
async def consuming(
    place: Place, *names: str, prefetch: int = 0, **options: Any
) -> AsyncIterator[Consumer]:
    """Consume from queues, on a connection of one's own."""
    queues = [queue(name) for name in names]
    async with place.connect() as connection:
        made = connection.aconsumer(queues, **options)
        async with made as consumer:
            here = Consumer(connection, consumer)
            consumer.register_callback(here.receive)
            if prefetch:
                await consumer.aqos(prefetch_count=prefetch)
            yield here


async def asleep(consumer: Consumer, calls: int = 1) -> None:
    """So many calls wait, and the server knows it."""

    def quiet() -> bool:
        intake = intake_of(consumer.channel)
        return (
            intake is not None
            and intake._watch is not None
            and not intake.asking
            and not intake.bell._asked
            and len(desk_at(consumer.connection.transport)) == calls
        )

    await until(quiet)


async def read_ahead(consumer: Consumer) -> None:
    """Have more claimed than was delivered."""
    await consumer.drain()
    intake = intake_of(consumer.channel)
    assert intake is not None
    intake._count = 16
    await consumer.drain()
    assert intake.returns.waiting
