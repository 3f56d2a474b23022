"""What Kombu promises of consuming on Redis and RabbitMQ holds for the twins.

The behaviours are those that Kombu's integration tests name for these transports and
that `test_messaging` does not look at: lifetimes, recovery, credit, batches.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
import pytest
import redis
from kombu.exceptions import OperationalError

from tests.unit.core.help import closed_port, until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Consumer: Any = kombu.Consumer
Exchange: Any = kombu.Exchange
Producer: Any = kombu.Producer
Queue: Any = kombu.Queue

servers = pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)
on_redis = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
on_amqp = pytest.mark.parametrize("broker_url", ["amqp"], indirect=True)


@pytest.fixture
def connect(broker_url: str, unique: str) -> Callable[..., Any]:
    """Make a connection; keys on Redis go away with the test's name in them."""

    def make(**options: Any) -> Any:
        if broker_url.startswith("redis"):
            options["global_keyprefix"] = f"{unique}:"
        return Connection(broker_url, transport_options=options)

    return make


@pytest.fixture
def server(redis_url: str) -> Any:
    """The Redis server, as anybody sees it."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def passing(name: str, **options: Any) -> Any:
    """A queue that goes away by itself, where it can."""
    return Queue(name, routing_key=name, durable=False, **options)


async def later(count: Callable[[], Any], what: Any) -> None:
    """Wait until the server says what is expected."""
    for _ in range(500):
        if await asyncio.to_thread(count) == what:
            return
        await asyncio.sleep(0.02)
    assert await asyncio.to_thread(count) == what


async def drained(connection: Any, got: list[Any], count: int) -> list[Any]:
    while len(got) < count:
        await connection.adrain_events(timeout=20)
    return got


# -- connections ----------------------------------------------------------------------


@servers
async def test_a_connection_comes_back_after_it_was_closed(connect: Any) -> None:
    connection = connect()
    for _ in range(2):
        assert await connection.aconnect()
        assert connection.connected
        await connection.aclose()
        assert not connection.connected
    assert await connection.adefault_channel()
    assert connection.connected
    await connection.aclose()


async def test_nobody_listens() -> None:
    async def fail(scheme: str, verb: str) -> None:
        connection = Connection(f"{scheme}://127.0.0.1:{closed_port()}//")
        with pytest.raises((*connection.connection_errors, OperationalError)):
            await getattr(connection, verb)()
        await connection.aclose()

    # Beside each other: Kombu tries again after two seconds.
    await asyncio.gather(
        *(
            fail(scheme, verb)
            for scheme in ("redis", "amqp")
            for verb in ("aconnect", "achannel")
        )
    )


async def test_wrong_credentials_are_refused(redis_url: str) -> None:
    address = redis_url.partition("://")[2].rpartition("@")[2]
    connection = Connection(f"redis://nobody:wrong@{address}")
    with pytest.raises((redis.exceptions.AuthenticationError, OperationalError)):
        await connection.aconnect()
    await connection.aclose()


@servers
async def test_an_operation_gets_the_default_channel(connect: Any) -> None:
    calls: list[Any] = []

    def operation(value: str, channel: Any) -> str:
        calls.append(channel)
        return value

    async with connect() as connection:
        call = connection.aautoretry(operation, max_retries=0)
        value, channel = await call("result")
        assert value == "result"
        assert calls == [channel] == [connection.default_channel]


# -- recovery -------------------------------------------------------------------------


@on_amqp
async def test_a_revived_consumer_resumes_what_it_consumed(
    connect: Any, unique: str
) -> None:
    active, other = passing(f"{unique}.a"), passing(f"{unique}.b")
    got: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        got.append(body)
        message.ack()

    def drain(connection: Any, timeout: float) -> None:
        with suppress(socket.timeout):
            connection.drain_events(timeout=timeout)

    async with connect() as connection:
        consumer = Consumer(connection, [active], callbacks=[receive])
        async with consumer:
            await consumer.aadd_queue(other)
            assert [*consumer._active_tags] == [active.name]
            sock = connection.connection.transport.sock
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
            resumed = connection.aensure(consumer, drain, max_retries=3)
            await resumed(connection, 0.1)
            assert [*consumer._active_tags] == [active.name]
            await Producer(connection).apublish("again", routing_key=active.name)
            await resumed(connection, 5)
            assert got == ["again"]
        for queue in (active, other):
            await queue(connection.default_channel).adelete()


@on_redis
async def test_consuming_goes_on_after_the_server_has_hung_up(
    connect: Any, unique: str, server: Any
) -> None:
    queue, got = passing(unique), list[Any]()

    def receive(body: Any, message: Any) -> None:
        got.append(body)
        message.ack()

    async with connect(client_name=unique) as connection, connect() as other:
        consumer = connection.Consumer([queue], callbacks=[receive])
        async with consumer:
            for number in range(3):
                await Producer(other).apublish(number, routing_key=unique)
                while len(got) <= number:
                    with suppress(*connection.connection_errors, TimeoutError):
                        await connection.adrain_events(timeout=1)
                for one in await asyncio.to_thread(server.client_list):
                    if one["name"] == unique:
                        with suppress(redis.exceptions.ResponseError):
                            server.client_kill_filter(_id=one["id"])
    # The ack of one may have been lost with its connection: then it came again.
    assert [*dict.fromkeys(got)] == [0, 1, 2]


@on_amqp
async def test_a_broken_channel_does_not_go_back_to_the_pool(
    connect: Any, unique: str
) -> None:
    pool = connect(confirm_publish=True).Pool(limit=1)

    async def fail() -> None:
        async with pool.aacquire(block=True) as connection:
            queue = passing(unique, channel=connection)
            await queue.adeclare()
            await queue.adelete()
            await queue.aget()

    with pytest.raises(Exception, match="NOT_FOUND"):
        await fail()
    async with pool.aacquire(block=True) as connection:
        queue = passing(unique, channel=connection)
        await queue.adeclare()
        await Producer(connection).apublish(1, routing_key="nowhere", retry=False)
        await queue.adelete()
    await pool.aforce_close_all()


# -- what is unacknowledged -----------------------------------------------------------


@servers
async def test_what_is_unacked_goes_back_with_its_connection(
    connect: Any, unique: str
) -> None:
    queue, got = passing(unique), list[Any]()
    async with connect() as connection:
        await queue(connection.default_channel).adeclare()
        await Producer(connection).apublish("kept", routing_key=unique)
        async with connection.Consumer(
            [queue], callbacks=[lambda body, message: got.append(message)]
        ):
            await drained(connection, got, 1)
    async with connect() as connection:
        bound = queue(connection.default_channel)
        again = await bound.aget()
        while again is None:  # RabbitMQ may still be about to give it back
            again = await bound.aget()
        assert again.payload == "kept"
        await again.aack()
        await bound.adelete()


@on_redis
async def test_a_requeue_that_fails_keeps_the_message_noted(
    connect: Any, unique: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange(unique, type="direct")
    queue = Queue(unique, exchange, unique)

    def smembers(*_: Any) -> None:
        raise redis.exceptions.TimeoutError("nobody answers")

    async with connect() as connection:
        channel = connection.default_channel
        bound = queue(channel)
        await bound.adeclare()
        await Producer(channel, exchange).apublish("kept", routing_key=unique)
        message = await bound.aget()
        noted = await asyncio.to_thread(server.hgetall, f"{unique}:unacked")
        # What the message is routed by cannot be read.
        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "smembers", smembers)
            with pytest.raises(redis.exceptions.TimeoutError, match="nobody answers"):
                await message.arequeue()
        assert await asyncio.to_thread(server.hgetall, f"{unique}:unacked") == noted
        assert await bound.aget() is None
        await message.arequeue()
        again = await bound.aget()
        assert again.payload == "kept"
        assert again.headers["redelivered"]
        await again.aack()
        assert await asyncio.to_thread(server.hlen, f"{unique}:unacked") == 0


# -- credit ---------------------------------------------------------------------------


@on_redis
async def test_without_credit_nothing_is_taken(
    connect: Any, unique: str, server: Any
) -> None:
    queue, key, got = passing(unique), f"{unique}:{unique}", list[Any]()
    async with connect() as connection:
        consumer = connection.Consumer(
            [queue], callbacks=[lambda _, message: got.append(message)]
        )
        async with consumer:
            await consumer.aqos(prefetch_count=1)
            for number in range(2):
                await Producer(connection).apublish(number, routing_key=unique)
            await drained(connection, got, 1)
            with pytest.raises(TimeoutError):
                await connection.adrain_events(timeout=0.05)
            assert await asyncio.to_thread(server.llen, key) == 1
            await got[0].aack()
            await drained(connection, got, 2)
            await got[1].aack()
    assert await asyncio.to_thread(server.exists, f"{unique}:unacked") == 0


@servers
async def test_a_channel_without_credit_does_not_hold_up_another(
    connect: Any, unique: str
) -> None:
    first, second = passing(f"{unique}.a"), passing(f"{unique}.b")
    kept, got = list[Any](), list[Any]()
    async with connect() as connection:
        full = Consumer(
            await connection.achannel(),
            [first],
            callbacks=[lambda _, message: kept.append(message)],
            prefetch_count=1,
        )
        free = Consumer(
            await connection.achannel(),
            [second],
            callbacks=[lambda body, _: got.append(body)],
            no_ack=True,
        )
        async with full, free:
            producer = Producer(connection)
            for number in range(2):
                await producer.apublish(number, routing_key=first.name)
            await drained(connection, kept, 1)
            await producer.apublish("beside", routing_key=second.name)
            await drained(connection, got, 1)
            assert (len(kept), got) == (1, ["beside"])
            await kept[0].aack()
            await drained(connection, kept, 2)
            assert [message.payload for message in kept] == [0, 1]
            await kept[1].aack()
        for queue in (first, second):
            await queue(connection.default_channel).adelete()


@on_redis
@pytest.mark.parametrize("end", ["acancel", "close"])
async def test_what_was_claimed_survives_the_end_of_consuming(
    connect: Any, unique: str, end: str
) -> None:
    queue, got = passing(unique), list[Any]()
    async with connect() as connection:
        channel = await connection.achannel()
        consumer = Consumer(
            channel, [queue], callbacks=[lambda _, message: got.append(message)]
        )
        await consumer.aconsume()
        for number in range(8):
            await Producer(connection).apublish(number, routing_key=unique)
        await drained(connection, got, 3)
        for message in got:
            await message.aack()
        await (consumer.acancel() if end == "acancel" else channel.aclose())
        bound = queue(await connection.achannel())
        left = [(await bound.aget(no_ack=True)).payload for _ in range(5)]
        assert left == [3, 4, 5, 6, 7]
        assert await bound.aget(no_ack=True) is None


# -- lifetimes ------------------------------------------------------------------------


@on_redis
async def test_a_queue_with_a_lifetime_gets_it_anew_when_it_is_used(
    connect: Any, unique: str, server: Any
) -> None:
    queue = passing(unique, expires=60)
    steps = [f"{unique}:{unique}", f"{unique}:{unique}\x06\x163"]

    def left() -> list[bool]:
        return [server.pttl(step) > 55_000 for step in steps]

    async def age() -> None:
        for step in steps:
            assert await asyncio.to_thread(server.pexpire, step, 20_000)

    async with connect() as connection:
        bound, producer = queue(connection.default_channel), Producer(connection)
        await bound.adeclare()
        for _ in range(2):
            for priority in (0, 3):
                await producer.apublish(1, routing_key=unique, priority=priority)
            # Each step of priority is a list of its own.
            assert await asyncio.to_thread(left) == [True, True]
            await age()
        await producer.apublish(1, routing_key=unique, priority=3)
        await later(lambda: left()[1], True)
        await age()
        message = await bound.aget()
        await message.aack()
        await later(lambda: left()[0], True)
        await bound.adelete()


# -- batches --------------------------------------------------------------------------


def _batches() -> bool:
    return hasattr(kombu.Producer, "batch")


@on_redis
@pytest.mark.skipif(not _batches(), reason="this Kombu has no Producer.batch")
async def test_a_batch_goes_out_when_it_is_flushed(connect: Any, unique: str) -> None:
    queue = passing(unique, max_priority=10)
    async with connect() as connection:
        channel = connection.default_channel
        bound, producer = queue(channel), Producer(channel)
        await bound.adeclare()
        async with producer.abatch() as batch:
            await producer.apublish("first", routing_key=unique, priority=6)
            assert await bound.aget(no_ack=True) is None
            await batch.aflush()
            assert (await bound.aget(no_ack=True)).payload == "first"
            for body, priority in (("low", 6), ("high", 3), ("lower", 6)):
                await producer.apublish(body, routing_key=unique, priority=priority)
        found = [(await bound.aget(no_ack=True)).payload for _ in range(3)]
        assert found == ["high", "low", "lower"]


@on_redis
@pytest.mark.skipif(not _batches(), reason="this Kombu has no Producer.batch")
async def test_a_batch_is_routed_like_single_messages(
    connect: Any, unique: str
) -> None:
    exchange = Exchange(unique, type="topic")
    queue = Queue(unique, exchange, "events.*")
    async with connect() as connection:
        channel = connection.default_channel
        bound, producer = queue(channel), Producer(channel, exchange)
        await bound.adeclare()
        async with producer.abatch():
            for key in ("events.created", "others.created", "events.deleted"):
                await producer.apublish(key, routing_key=key)
        found = [(await bound.aget(no_ack=True)).payload for _ in range(2)]
        assert found == ["events.created", "events.deleted"]
        assert await bound.aget(no_ack=True) is None


@on_redis
@pytest.mark.skipif(not _batches(), reason="this Kombu has no Producer.batch")
async def test_what_is_sent_to_all_waits_for_the_end_of_its_batch(
    connect: Any, unique: str
) -> None:
    exchange = Exchange(unique, type="fanout")
    got: list[Any] = []
    async with connect() as connection, connect() as other:
        queue = Queue(unique, exchange, durable=False)
        async with connection.Consumer(
            [queue], callbacks=[lambda body, _: got.append(body)], no_ack=True
        ):
            with pytest.raises(TimeoutError):  # it has subscribed then
                await connection.adrain_events(timeout=0.2)
            producer = other.Producer(exchange=exchange)
            async with producer.abatch():
                await producer.apublish("to all")
                with pytest.raises(TimeoutError):
                    await connection.adrain_events(timeout=0.05)
            await drained(connection, got, 1)
    assert got == ["to all"]


# -- another thread -------------------------------------------------------------------


@servers
async def test_a_message_is_acked_from_another_thread(
    connect: Any, unique: str
) -> None:
    queue, got, loop = passing(unique), list[Any](), asyncio.get_running_loop()
    acked: list[Any] = []

    async def ack(message: Any) -> None:
        await message.aack()
        acked.append(message.payload)

    def receive(body: Any, message: Any) -> None:
        got.append(body)
        loop.run_in_executor(
            None, lambda: asyncio.run_coroutine_threadsafe(ack(message), loop)
        )

    async with connect() as connection:
        consumer = connection.Consumer([queue], callbacks=[receive], prefetch_count=1)
        async with consumer:
            for number in range(2):
                await Producer(connection).apublish(number, routing_key=unique)
            await drained(connection, got, 2)
            await until(lambda: len(acked) == 2)
            assert acked == got == [0, 1]
        await queue(connection.default_channel).adelete()
