"""What Kombu's own integration tests ask of a transport, of the twins."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import kombu
import kombu.common
import pytest
from kombu.exceptions import OperationalError

from tests.unit.core.help import closed_port, until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Consumer: Any = kombu.Consumer
Exchange: Any = kombu.Exchange
Producer: Any = kombu.Producer
Queue: Any = kombu.Queue
common: Any = kombu.common

BROKERS = ("memory", "redis", "amqp")
brokers = pytest.mark.parametrize("broker_url", BROKERS, indirect=True)
servers = pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)


@pytest.fixture
def connect(broker_url: str, unique: str) -> Callable[..., Any]:
    """Make a connection; keys on Redis go away with the test's name in them."""

    def make(**options: Any) -> Any:
        if broker_url.startswith("redis"):
            options["global_keyprefix"] = f"{unique}:"
        return Connection(broker_url, transport_options=options)

    return make


def passing(name: str, **options: Any) -> Any:
    """A queue that goes away by itself."""
    return Queue(name, durable=False, auto_delete=True, **options)


def taking(got: list[Any], settle: str = "aack") -> Any:
    async def take(body: Any, message: Any) -> None:
        if settle:
            await getattr(message, settle)()
        got.append((body, message))

    return take


@brokers
async def test_publish_and_consume(connect: Any, unique: str) -> None:
    queue, got = passing(unique, routing_key=unique), list[Any]()
    async with connect() as connection, await connection.achannel() as channel:
        producer = Producer(channel)
        await producer.apublish(
            {"hello": "world"},
            retry=True,
            exchange=queue.exchange,
            routing_key=queue.routing_key,
            declare=[queue],
            serializer="pickle",
        )
        consumer = Consumer(connection, [queue], accept=["pickle"])
        consumer.register_callback(taking(got))
        async with consumer:
            await connection.adrain_events(timeout=30)
    ((body, message),) = got
    assert body == message.payload == {"hello": "world"}
    assert message.content_type == "application/x-python-serialize"
    assert message.delivery_info["exchange"] == ""
    assert message.delivery_info["routing_key"] == unique


@brokers
@pytest.mark.parametrize("kind", ["SimpleQueue", "SimpleBuffer"])
async def test_simple(connect: Any, unique: str, kind: str) -> None:
    async with connect() as connection:
        options = {"queue_opts": {"auto_delete": True, "durable": False}}
        async with getattr(connection, kind)(unique, **options) as queue:
            await queue.aput({"Hello": "World"}, headers={"k1": "v1"})
            message = await queue.aget(timeout=30)
            assert message.payload == {"Hello": "World"}
            assert message.content_type == "application/json"
            assert message.content_encoding == "utf-8"
            assert message.headers == {"k1": "v1"}
            await message.aack()


async def fetched(queue: Any, channel: Any, patience: float = 0) -> list[Any]:
    """What waits in a queue; with patience, at least one."""
    found, end = [], time.monotonic() + patience
    bound = queue(channel)
    while True:
        message = await bound.aget(no_ack=True)
        if message is not None:
            found.append(message.payload)
        elif found or time.monotonic() >= end:
            return found


@brokers
async def test_direct_and_topic(connect: Any, unique: str) -> None:
    async with connect() as connection:
        channel = connection.default_channel
        for kind, keys, sent, expected in (
            ("direct", ("r.1", "r.2"), "r.1", [["r.1"], []]),
            ("topic", ("t.*", "t.#"), "t.1.2", [[], ["t.1.2"]]),
            ("topic", ("t.*", "t.#"), "t.1", [["t.1"], ["t.1"]]),
        ):
            exchange = Exchange(f"{unique}.{kind}", kind, durable=False)
            queues = [
                passing(f"{unique}.{kind}.{n}", exchange=exchange, routing_key=key)
                for n, key in enumerate(keys)
            ]
            await Producer(channel).apublish(
                sent, exchange=exchange, routing_key=sent, declare=queues
            )
            found = [
                await fetched(queue, channel, 20 * bool(wanted))
                for queue, wanted in zip(queues, expected, strict=True)
            ]
            assert found == expected
            for queue in queues:
                await queue(channel).adelete()


@brokers
async def test_fanout(connect: Any, unique: str) -> None:
    exchange = Exchange(unique, "fanout", durable=False)
    got: dict[int, list[Any]] = {0: [], 1: []}
    async with connect() as one, connect() as two:
        consumers = [
            connection.Consumer(
                [passing(f"{unique}.{n}", exchange=exchange)],
                callbacks=[taking(got[n])],
                no_ack=True,
            )
            for n, connection in enumerate((one, two))
        ]
        async with consumers[0], consumers[1]:
            # Redis delivers to those who listen already.
            for _ in range(100):
                await one.Producer().apublish("news", exchange=exchange)
                for connection in (one, two):
                    with suppress(TimeoutError):
                        await connection.adrain_events(timeout=0.1)
                if all(got.values()):
                    break
    assert {body for found in got.values() for body, _ in found} == {"news"}
    assert all(got.values())


@servers
async def test_priorities_and_requeueing(
    connect: Any, unique: str, broker_url: str
) -> None:
    """Redis counts its priorities down, RabbitMQ up."""
    queue = Queue(unique, max_priority=9)
    low, high, top = (6, 3, 0) if broker_url.startswith("redis") else (3, 6, 9)
    async with connect(confirm_publish=True) as connection:
        producer = connection.Producer()
        for body, priority in (("first", low), ("second", high), ("third", low)):
            await producer.apublish(
                body, routing_key=unique, priority=priority, declare=[queue]
            )
        for expected, settle in (
            (["second", "first", "third"], "requeue"),
            (["fourth", "second", "first", "third"], "ack"),
        ):
            got: list[Any] = []
            async with connection.Consumer([queue], callbacks=[taking(got, "")]):
                # Those that are there already come in order of priority.
                while len(got) < len(expected):
                    await connection.adrain_events(timeout=30)
            assert [body for body, _ in got] == expected
            for _, message in got:
                await getattr(message, f"a{settle}")()
            if settle == "requeue":
                await producer.apublish("fourth", routing_key=unique, priority=top)
        await queue(connection).adelete()


@brokers
async def test_states_of_a_message(connect: Any, unique: str) -> None:
    async with connect() as connection:
        bound = Queue(unique)(connection)
        await bound.adeclare()
        await connection.Producer().apublish("x", routing_key=unique)
        async with aclosing(aiter(bound)) as messages:
            message = await anext(messages)
            await message.aack()
            with pytest.raises(message.MessageStateError):
                await message.areject()
            assert message.acknowledged
            await connection.Producer().apublish("y", routing_key=unique)
            message = await anext(messages)
            await message.arequeue()
            again = await anext(messages)
            assert again.payload == "y"
            assert again.delivery_info.get("redelivered", True)
            await again.areject()
        assert await bound.aget() is None
        await bound.adelete()


@brokers
async def test_event_loop(connect: Any, unique: str) -> None:
    got: list[Any] = []
    async with connect() as connection:
        consumer = connection.Consumer([passing(unique)], callbacks=[taking(got)])
        async with consumer:
            await connection.Producer().apublish("x", routing_key=unique)
            async for _ in common.aeventloop(connection, 1, 30):
                pass
            assert [body for body, _ in got] == ["x"]
            with pytest.raises(TimeoutError):
                async for _ in common.aeventloop(connection, 1, 0.1):
                    pass
            async for _ in common.aeventloop(connection, 2, 0.1, ignore_timeouts=True):
                pytest.fail("nothing came")


@servers
async def test_the_next_broker_is_taken(connect: Any, broker_url: str) -> None:
    scheme = broker_url.partition(":")[0]
    urls = f"{scheme}://guest:guest@127.0.0.1:{closed_port()}//;{broker_url}"
    if scheme == "redis":
        urls = f"redis://127.0.0.1:{closed_port()}/0;{broker_url}"
    connection = Connection(urls, connect_timeout=5)
    await connection.aensure_connection(max_retries=2, interval_start=0)
    assert connection.connected
    await connection.arelease()


@servers
async def test_retries_of_the_first_connection(broker_url: str) -> None:
    scheme, errors = broker_url.partition(":")[0], []

    async def operation(channel: Any) -> None:
        pytest.fail("there is no server")

    connection = Connection(f"{scheme}://127.0.0.1:{closed_port()}", connect_timeout=1)
    retried = connection.aautoretry(
        operation,
        max_retries=2,
        interval_start=0,
        interval_step=0,
        interval_max=0,
        errback=lambda exc, interval: errors.append(exc),
    )
    with pytest.raises(OperationalError):
        await retried()
    assert errors
    assert all(isinstance(one, connection.connection_errors) for one in errors)


@pytest.mark.parametrize("broker_url", ["amqp"], indirect=True)
async def test_messages_expire(connect: Any, unique: str) -> None:
    async with connect(confirm_publish=True) as connection:
        queue = passing(unique)
        await connection.Producer().apublish(
            "old", routing_key=unique, declare=[queue], expiration=0.01
        )
        await connection.Producer().apublish("new", routing_key=unique)
        bound, found = queue(connection), []
        while "new" not in found:
            found += await fetched(queue, connection.default_channel)
        # The first may have been read before its time was over.
        assert found in (["new"], ["old", "new"])
        await bound.adelete()


@pytest.mark.parametrize("broker_url", ["amqp"], indirect=True)
async def test_consuming_goes_on_where_it_was(connect: Any, unique: str) -> None:
    """After a lost connection: from the queues that were consumed from."""
    got: list[Any] = []
    active, idle = Queue(f"{unique}.active"), Queue(f"{unique}.idle")
    async with connect() as connection:
        consumer = Consumer(connection, [active])
        consumer.register_callback(taking(got))
        async with consumer:
            await consumer.aadd_queue(idle)
            sock = connection.connection.transport.sock
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()

            async def drain(seconds: float) -> None:
                with suppress(TimeoutError):
                    await connection.adrain_events(timeout=seconds)

            safe = connection.aensure(consumer, drain, max_retries=3)
            await safe(0.2)
            assert list(consumer._active_tags) == [active.name]
            await connection.Producer().apublish("x", routing_key=active.name)
            running = asyncio.ensure_future(safe(30))
            await until(lambda: got)
            await running
        for queue in (active, idle):
            await queue(connection.default_channel).adelete()
    assert [body for body, _ in got] == ["x"]
