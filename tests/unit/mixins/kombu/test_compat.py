from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import kombu
import pytest
from kombu import compat

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Named = Callable[..., str]


async def test_publisher_and_consumer(url: str, named: Named) -> None:
    name = named()
    with Connection(url) as connection:
        consumer: Any = compat.Consumer(connection, name, name, name)
        publisher: Any = compat.Publisher(connection, name, name)
        async with publisher as same:
            assert same is publisher
            for number in range(5):
                await publisher.asend(number)
            assert await publisher.abackend() is connection.default_channel
        assert publisher._closed
        async with consumer as same:
            assert same is consumer
            message = None
            while message is None:
                message = await consumer.afetch(no_ack=True)
            assert message.payload == 0
            got = [m.payload async for m in consumer.aiterqueue(limit=2)]
            assert got == [1, 2]
            async for message in consumer:
                # With a limit, upstream fetches one more and drops it.
                assert message.payload == 4
                break
            assert await consumer.adiscard_all() == 0
            with pytest.raises(NotImplementedError):
                await consumer.adiscard_all(lambda message: True)
        assert consumer._closed
        await publisher.aclose()


@pytest.mark.parametrize("wait", ["await_", "acollect_all"])
async def test_waiting_for_messages(url: str, named: Named, wait: str) -> None:
    name = named()
    with Connection(url) as connection:
        consumer: Any = compat.Consumer(connection, name, name, name)
        seen: list[Any] = []
        consumer.register_callback(lambda body, message: seen.append(body))
        publisher: Any = compat.Publisher(connection, name, name)
        for number in range(3):
            await publisher.asend(number)
        assert len(await getattr(consumer, wait)(2)) == 2
        events = [event async for event in consumer.aiterconsume(limit=1)]
        assert len(events) == 1
        assert seen == [0, 1, 2]
        await consumer.arevive(connection.channel())
        await consumer.aclose()


async def test_a_wait_without_limit_can_be_cancelled(url: str, named: Named) -> None:
    name = named()
    with Connection(url) as connection:
        consumer: Any = compat.Consumer(connection, name, name, name)
        waiting = asyncio.ensure_future(consumer.await_())
        await asyncio.sleep(0.15)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await consumer.aclose()


async def test_a_set_of_consumers(url: str, named: Named) -> None:
    names = [named("a"), named("b"), named("c")]
    with Connection(url) as connection:
        consumers: Any = compat.ConsumerSet(
            connection, {names[0]: {"exchange": names[0]}}, no_ack=True
        )
        options = {"exchange": names[1], "routing_key": names[1]}
        await consumers.aadd_consumer_from_dict(names[1], **options)
        one: Any = compat.Consumer(connection, names[2], names[2], names[2])
        await consumers.aadd_consumer(one)
        assert sorted(queue.name for queue in consumers.queues) == names
        seen: list[Any] = []
        consumers.register_callback(lambda body, message: seen.append(body))
        publisher: Any = compat.Publisher(connection, names[1], names[1])
        await consumers.aconsume()
        await publisher.asend("x")
        async for _ in consumers.aiterconsume(limit=1):
            assert seen == ["x"]
        assert await consumers.adiscard_all() == 0
        await consumers.arevive(connection.channel())
        await consumers.aclose()
        await one.aclose()
