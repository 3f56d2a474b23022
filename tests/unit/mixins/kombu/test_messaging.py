from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
import pytest
from kombu import Exchange
from kombu.exceptions import OperationalError
from kombu.utils.functional import ChannelPromise

from celery_async_bridge.errors import PublishTimeout

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Consumer: Any = kombu.Consumer
Producer: Any = kombu.Producer
Queue: Any = kombu.Queue
Named = Callable[..., str]


async def _all(connection: Any, name: str) -> list[Any]:
    """What is in a queue."""
    queue = Queue(name)(await connection.achannel())
    found = []
    for _ in range(200):
        while (message := await queue.aget(no_ack=True)) is not None:
            found.append(message)
        if found:
            break
        await asyncio.sleep(0.01)
    return found


async def test_publish_gives_the_broker_what_the_sync_twin_gives(
    url: str, named: Named
) -> None:
    name = named()
    async with Connection(url) as entered:
        connection: Any = entered
        exchange = Exchange(name)
        queue: Any = Queue(name, exchange, name)
        options: dict[str, Any] = {
            "routing_key": name,
            "headers": {"h": [1]},
            "compression": "zlib",
            "correlation_id": "c",
            "expiration": 60,
            "declare": [queue],
        }
        producer = connection.Producer(exchange=exchange, serializer="json")
        expected = producer.publish({"a": 1}, **dict(options, declare=[queue]))
        actual = await producer.apublish(
            {"a": 1}, publish_timeout=5, **dict(options, declare=[queue])
        )
        assert type(actual) is type(expected)
        first, second = await _all(connection, name)
        for message in (first, second):
            for key in ("delivery_tag", "body_encoding"):
                message.properties.pop(key, None)
        assert first.body == second.body
        assert first.headers == second.headers
        assert first.properties == second.properties
        assert first.content_type == second.content_type


async def test_positional_arguments(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            await connection.Producer().apublish("x", queue.queue.name, "transient")
            message = await queue.aget(timeout=5)
            assert message.payload == "x"
            assert message.properties["delivery_mode"] == 1


async def test_errors_are_those_of_the_sync_twin(url: str, unique: str) -> None:
    for body, options in (
        (object(), {}),
        ("x", {"serializer": "unknown"}),
        ("x", {"compression": "unknown"}),
        ("x", {"exchange": unique}),
        ("x", {"serializer": object()}),
    ):
        outcomes = []
        for verb in ("publish", "apublish"):
            async with Connection(url) as connection:
                try:
                    publish = getattr(connection.Producer(), verb)
                    done = publish(body, routing_key=unique, **options)
                    done = await done if verb == "apublish" else done
                    outcomes.append(type(done))
                except Exception as exc:
                    outcomes.append(type(exc))
                # AMQP reports an unknown exchange to whoever uses the channel next. Not
                # to its `close`: py-amqp's waits for ever if both sides do it at once.
                with suppress(Exception):
                    connection.default_channel.basic_qos(0, 1, False)
        assert outcomes[0] is outcomes[1], (body, options)


async def test_a_black_hole_is_left_in_time() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        url = f"amqp://127.0.0.1:{hole.getsockname()[1]}//"
        connection: Any = Connection(url, connect_timeout=40)
        producer: Any = Producer(connection)
        began = time.monotonic()
        with pytest.raises(OperationalError) as raised:
            await producer.apublish("x", routing_key="x", publish_timeout=1)
        assert 0.99 < time.monotonic() - began < 20
        assert isinstance(raised.value, PublishTimeout)
        assert raised.value.seconds == 1
        assert raised.value.uncertain


async def test_declaring(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as entered:
        connection: Any = entered
        producer = connection.Producer(exchange=Exchange(name))
        assert await producer.adeclare() is None
        queue = Queue(name, Exchange(name), name)
        assert await producer.amaybe_declare(queue) is True
        assert await producer.amaybe_declare(queue) is False
        assert await producer.amaybe_declare(None) is None
        with Connection(url) as other:
            sync = other.Producer()
            assert sync.maybe_declare(queue) is True
            assert sync.maybe_declare(queue) is False
            assert sync.maybe_declare(None) is None
        retry = Queue(named("r"))
        assert await producer.amaybe_declare(retry, True, max_retries=1) is True


async def test_the_channel_of_a_producer(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        producer = connection.Producer()
        assert isinstance(producer._channel, ChannelPromise)
        assert await producer.achannel() is connection.default_channel
        channel = await connection.achannel()
        await producer.arevive(channel)
        assert producer.channel is channel
        promised: Any = Producer(ChannelPromise(lambda: connection.default_channel))
        assert await promised.achannel() is connection.default_channel


async def test_leaving_a_producer(url: str, unique: str) -> None:
    pool: Any = Connection(url).Pool(limit=1)
    async with pool.aacquire() as connection:
        async with connection.Producer() as producer:
            await producer.apublish("x", routing_key=unique)
        assert connection.connected
        await producer.arelease()
        await producer.aclose()
        with pytest.raises(KeyError):
            async with connection.Producer():
                raise KeyError
        assert not connection.connected
    pool.force_close_all()


async def test_a_batch_holds_what_is_published_inside(
    redis_url: str, redis_options: dict[str, Any], unique: str
) -> None:
    options = {"transport_options": redis_options}
    async with Connection(redis_url, **options) as one:
        connection: Any = one
        producer = connection.Producer()
        sizes = []
        async with Connection(redis_url, **options) as two:
            watch: Any = two
            queue = Queue(unique)(await watch.achannel())

            async def size() -> int:
                return int(queue.channel._size(unique))

            async def publish(number: int) -> None:
                await producer.apublish(number, routing_key=unique)

            async with producer.abatch() as batch:
                await publish(0)
                # Also from other threads and from tasks that were started inside.
                await asyncio.gather(*map(publish, range(1, 20)))
                sizes.append(await size())
                await batch.aflush()
                sizes.append(await size())
                await publish(20)
                async with producer.abatch():
                    await publish(21)
                sizes.append(await size())
            sizes.append(await size())
            await publish(22)
            sizes.append(await size())
            found = sorted(message.payload for message in await _all(watch, unique))
        assert sizes == [0, 20, 20, 22, 23]
        assert found == list(range(23))


async def test_a_full_batch_is_sent(
    redis_url: str, redis_options: dict[str, Any], unique: str
) -> None:
    async with Connection(redis_url, transport_options=redis_options) as entered:
        producer: Any = entered.Producer()
        async with producer.abatch(max_size=3):
            for number in range(4):
                await producer.apublish(number, routing_key=unique)
            assert producer.channel._size(unique) == 3
        assert producer.channel._size(unique) == 4
        for wrong in (0, True, "x"):
            with pytest.raises(ValueError, match="max_size"):
                producer.abatch(wrong)


async def test_a_failed_batch_sends_nothing(
    redis_url: str, redis_options: dict[str, Any], unique: str
) -> None:
    async with Connection(redis_url, transport_options=redis_options) as entered:
        producer: Any = entered.Producer()
        with pytest.raises(KeyError):  # noqa: PT012
            async with producer.abatch() as batch:
                await producer.apublish("x", routing_key=unique)
                raise KeyError
        with pytest.raises(RuntimeError):
            await batch.aflush()
        await producer.apublish("y", routing_key=unique)
        assert producer.channel._size(unique) == 1


async def test_others_are_not_in_the_batch(
    redis_url: str, redis_options: dict[str, Any], unique: str
) -> None:
    async with Connection(redis_url, transport_options=redis_options) as entered:
        producer: Any = entered.Producer()
        inside, outside = asyncio.Event(), asyncio.Event()

        async def other() -> None:
            await inside.wait()
            await producer.apublish("other", routing_key=unique)
            outside.set()

        task = asyncio.ensure_future(other())
        async with producer.abatch():
            await producer.apublish("mine", routing_key=unique)
            inside.set()
            await outside.wait()
            assert producer.channel._size(unique) == 1
        await task
        assert producer.channel._size(unique) == 2


async def test_upstreams_batch_can_be_used_with_async_with(
    url: str, named: Named
) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            batch = queue.producer.batch(10)
            async with batch as same:
                assert same is batch
                await queue.aput(1)
                await batch.aflush()
                await queue.aput(2)
            assert [(await queue.aget(timeout=5)).payload for _ in range(2)] == [1, 2]
            with pytest.raises(RuntimeError):
                async with batch:
                    pass


async def test_a_consumer(url: str, named: Named) -> None:
    got: list[Any] = []
    async with Connection(url) as entered:
        connection: Any = entered
        first, second = Queue(named("a")), Queue(named("b"))
        producer = connection.Producer()
        consumer: Any = await connection.aconsumer(
            [first], callbacks=[lambda body, _: got.append(body)], no_ack=True
        )
        added = await consumer.aadd_queue(second)
        assert added.is_bound
        for body in "ab":
            await producer.apublish(body, routing_key=named(body))
        async with consumer as entered_consumer:
            assert entered_consumer is consumer
            assert consumer.consuming_from(first)
            assert consumer.consuming_from(second)
            while len(got) < 2:
                await connection.adrain_events(timeout=5)
            await consumer.acancel_by_queue(first.name)
            assert not consumer.consuming_from(first)
            await consumer.acancel()
            assert not consumer.consuming_from(second)
            await consumer.aconsume(no_ack=False)
            assert consumer.consuming_from(second)
        assert not consumer.consuming_from(second)
        assert sorted(got) == ["a", "b"]
        assert await consumer.adeclare() is None
        assert await consumer.aqos(prefetch_count=2) == consumer.qos(prefetch_count=2)
        await consumer.arevive(await connection.achannel())
        assert await consumer.apurge() == 0
        await consumer.aclose()


async def test_the_flow_of_a_consumer(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        consumer: Any = await connection.aconsumer([Queue(named())])
        try:
            expected = consumer.flow(True)
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                await consumer.aflow(True)
        else:
            assert await consumer.aflow(True) == expected


async def test_unacknowledged_messages_are_delivered_again(
    url: str, named: Named
) -> None:
    got: list[Any] = []
    async with Connection(url) as entered:
        connection: Any = entered
        name = named()
        consumer = connection.aconsumer(
            [Queue(name)], callbacks=[lambda _, message: got.append(message)]
        )
        async with consumer as running:
            await connection.Producer().apublish("x", routing_key=name)
            while not got:
                await connection.adrain_events(timeout=5)
            await running.arecover(requeue=True)
            while len(got) < 2:
                await connection.adrain_events(timeout=5)
            await got[1].aack()
        assert got[1].payload == "x"


async def test_receive_awaits_what_the_callbacks_return() -> None:
    connection: Any = Connection("memory://")
    seen: list[Any] = []
    loop_thread = threading.get_ident()

    async def later(body: Any, message: Any) -> None:
        await asyncio.sleep(0.01)
        assert threading.get_ident() == loop_thread
        seen.append(("later", body))

    consumer: Any = Consumer(connection, [], callbacks=[later])
    consumer.register_callback(lambda body, message: seen.append(("now", body)))
    assert await consumer.areceive("x", None) is None
    assert seen == [("later", "x"), ("now", "x")]


async def test_receive_stops_at_the_first_exception(url: str) -> None:
    seen: list[Any] = []

    async def fail(body: Any, message: Any) -> None:
        raise KeyError(body)

    async with Connection(url) as entered:
        connection: Any = entered
        consumer: Any = Consumer(
            await connection.achannel(),
            [],
            callbacks=[fail, lambda body, message: seen.append(body)],
        )
        with pytest.raises(KeyError):
            await consumer.areceive("x", None)
        assert seen == []
        consumer.callbacks = []
        with pytest.raises(NotImplementedError):
            consumer.receive("x", None)
        with pytest.raises(NotImplementedError):
            await consumer.areceive("x", None)
