"""Peers that know nothing of the bridge send to ours and consume beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
import pytest

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue

brokers = pytest.mark.parametrize(
    "broker_url", ["memory", "redis", "amqp"], indirect=True
)
#: Kombu's memory transport forgets what is unacknowledged, whoever consumes.
restoring = pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)

BODIES = [{"n": number, "text": "ä\u20ac\U0001f600"} for number in range(10)]


@pytest.fixture
def connect(broker_url: str, unique: str) -> Callable[[], Any]:
    """Make a connection; keys on Redis go away with the test's name in them."""
    options: dict[str, Any] = {}
    if broker_url.startswith("redis"):
        options = {
            "global_keyprefix": f"{unique}:",
            "visibility_timeout": 1,
            "unacked_mutex_expire": 1,
            "unacked_restore_interval": 0.1,
        }

    def make() -> Any:
        return Connection(broker_url, transport_options=options)

    return make


def _queue(name: str) -> Any:
    return Queue(
        name, kombu.Exchange(name, durable=False), name, durable=False, max_priority=9
    )


def _facts(message: Any) -> tuple[Any, ...]:
    """What a peer sees of a message, without what the transport adds."""
    headers = dict(message.headers)
    headers.pop("redelivered", None)
    return (
        message.payload,
        headers,
        message.content_type,
        message.content_encoding,
        message.properties.get("correlation_id"),
    )


async def _stock(connect: Any, work: Callable[[Any], Any]) -> Any:
    """Run sync code on a connection of its own, in a thread of its own."""

    def run() -> Any:
        with connect() as connection:
            return work(connection)

    return await asyncio.to_thread(run)


def _options(number: int) -> dict[str, Any]:
    return {
        "headers": {"number": number},
        "correlation_id": f"id-{number}",
        "compression": "zlib" if number % 2 else None,
        "serializer": "json",
    }


async def _stock_sends(connect: Any, queue: Any) -> None:
    def send(connection: Any) -> None:
        producer = connection.Producer(exchange=queue.exchange)
        for number, body in enumerate(BODIES):
            producer.publish(
                body, routing_key=queue.name, declare=[queue], **_options(number)
            )

    await _stock(connect, send)


async def _ours_sends(connect: Any, queue: Any) -> None:
    async with connect() as connection:
        producer = connection.Producer(exchange=queue.exchange)
        for number, body in enumerate(BODIES):
            await producer.apublish(
                body, routing_key=queue.name, declare=[queue], **_options(number)
            )


async def _stock_takes(connect: Any, queue: Any, count: int) -> list[Any]:
    found: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        found.append(_facts(message))
        message.ack()

    def consume(connection: Any) -> None:
        end = time.monotonic() + 20
        with connection.Consumer([queue], callbacks=[receive]):
            while len(found) < count and time.monotonic() < end:
                # In short waits: in a long one Kombu restores nothing.
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

    await _stock(connect, consume)
    return found


async def _ours_takes(connect: Any, queue: Any, count: int) -> list[Any]:
    found: list[Any] = []

    async def receive(body: Any, message: Any) -> None:
        found.append(_facts(message))
        await message.aack()

    async with (
        connect() as connection,
        connection.Consumer([queue], callbacks=[receive]),
    ):
        end = time.monotonic() + 20
        while len(found) < count and time.monotonic() < end:
            with suppress(TimeoutError):
                await connection.adrain_events(timeout=0.1)
    return found


@brokers
async def test_what_stock_kombu_sends_is_what_stock_kombu_would_get(
    connect: Any, unique: str
) -> None:
    queue = _queue(unique)
    await _stock_sends(connect, queue)
    ours = await _ours_takes(connect, queue, len(BODIES))
    await _stock_sends(connect, queue)
    assert ours == await _stock_takes(connect, queue, len(BODIES))
    assert [facts[0] for facts in ours] == BODIES


@brokers
async def test_what_ours_sends_is_what_stock_kombu_would_send(
    connect: Any, unique: str
) -> None:
    queue = _queue(unique)
    await _ours_sends(connect, queue)
    ours = await _stock_takes(connect, queue, len(BODIES))
    await _stock_sends(connect, queue)
    assert ours == await _stock_takes(connect, queue, len(BODIES))
    assert [facts[0] for facts in ours] == BODIES


@brokers
async def test_both_consume_from_one_queue(connect: Any, unique: str) -> None:
    queue, count = _queue(unique), 60
    found: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        found.append(body)
        message.ack()

    def stock(connection: Any) -> None:
        with connection.Consumer([queue], callbacks=[receive], prefetch_count=1):
            end = time.monotonic() + 20
            while len(found) < count and time.monotonic() < end:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

    async def ours() -> None:
        async with (
            connect() as connection,
            connection.Consumer([queue], callbacks=[receive], prefetch_count=1),
        ):
            while len(found) < count:
                with suppress(TimeoutError):
                    await connection.adrain_events(timeout=0.1)

    async with connect() as connection:
        producer = connection.Producer(exchange=queue.exchange)
        await producer.amaybe_declare(queue)
        working = asyncio.gather(_stock(connect, stock), ours(), ours())
        for number in range(count):
            await producer.apublish(number, routing_key=queue.name)
        await asyncio.wait_for(working, 30)
    assert sorted(found) == list(range(count))


@restoring
async def test_stock_kombu_gets_what_ours_has_left(connect: Any, unique: str) -> None:
    queue = _queue(unique)
    await _ours_sends(connect, queue)
    kept: list[Any] = []
    async with (
        connect() as connection,
        connection.Consumer([queue], callbacks=[lambda _, one: kept.append(one)]),
    ):
        while len(kept) < 4:
            await connection.adrain_events(timeout=20)
        await kept[1].aack()
        seen = [message.payload for message in kept]
    left = await _stock_takes(connect, queue, len(BODIES) - 1)
    # Those that were seen are delivered again, the others for the first time.
    bodies = [facts[0] for facts in left]
    assert sorted(body["n"] for body in bodies) == [
        body["n"] for body in BODIES if body != seen[1]
    ]


@restoring
async def test_ours_gets_what_stock_kombu_has_left(connect: Any, unique: str) -> None:
    queue = _queue(unique)
    await _stock_sends(connect, queue)

    def leave(connection: Any) -> list[Any]:
        kept: list[Any] = []
        with connection.Consumer([queue], callbacks=[lambda _, one: kept.append(one)]):
            while len(kept) < 4:
                connection.drain_events(timeout=20)
            kept[1].ack()
            return [message.payload for message in kept]

    seen = await _stock(connect, leave)
    left = await _ours_takes(connect, queue, len(BODIES) - 1)
    assert sorted(facts[0]["n"] for facts in left) == [
        body["n"] for body in BODIES if body != seen[1]
    ]


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
@pytest.mark.parametrize("dies", ["stock", "ours"])
async def test_who_lives_restores_what_the_dead_held(
    connect: Any, unique: str, dies: str
) -> None:
    """A peer that went without a farewell: its messages wait in `unacked`."""
    queue = _queue(unique)
    await _stock_sends(connect, queue)
    kept: list[Any] = []
    connection = connect()
    if dies == "ours":
        await connection.aconnect()
        consumer = connection.Consumer(
            [queue], callbacks=[lambda _, one: kept.append(one)], prefetch_count=4
        )
        await consumer.aconsume()
        while len(kept) < 4:
            await connection.adrain_events(timeout=20)
    else:
        channel = await asyncio.to_thread(connection.channel)
        bound = queue(channel)
        kept += [await asyncio.to_thread(bound.get) for _ in range(4)]
    # Nothing of it lives on that could give its messages back, or keep them young.
    for channel in connection.transport.channels:
        channel.qos._delivered.clear()
        if dies == "ours":
            vars(channel)["_bridge_intake"]._youth.end()
            vars(channel)["_bridge_intake"].returns.waiting.clear()
    takes = _stock_takes if dies == "ours" else _ours_takes
    found = await takes(connect, queue, len(BODIES))
    assert sorted(facts[0]["n"] for facts in found) == list(range(len(BODIES)))
    if dies == "ours":
        await connection.aclose()
    else:
        await asyncio.to_thread(connection.close)
