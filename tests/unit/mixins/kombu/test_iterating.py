"""`async for message in ...`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import kombu
import pytest
from kombu.exceptions import NotBoundError

from tests.unit.core.help import until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
Named = Callable[..., str]


async def send(connection: Any, name: str, *bodies: Any) -> None:
    await Queue(name)(connection).adeclare()
    producer = connection.Producer()
    for body in bodies:
        await producer.apublish(body, routing_key=name)


async def rest(url: str, name: str, count: int) -> list[Any]:
    """What a stock peer finds in the queue."""

    def look() -> list[Any]:
        found = []
        with Connection(url) as connection:
            queue = connection.SimpleQueue(name)
            for _ in range(count):
                message = queue.get(timeout=30)
                message.ack()
                found.append(message.payload)
            with pytest.raises(queue.Empty):
                queue.get(timeout=0.1)
            queue.close()
        return sorted(found)

    return await asyncio.to_thread(look)


async def test_a_queue(url: str, named: Named) -> None:
    name, got = named(), []
    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, 1, 2, 3, 4, 5)
        async for message in Queue(name)(one):
            got.append(message.payload)
            await message.aack()
            if len(got) == 3:
                break
    assert got == [1, 2, 3]
    assert await rest(url, name, 2) == [4, 5]


async def test_a_message_can_be_settled_after_the_loop(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, 1, 2, 3)
        queue = Queue(name)(one)
        async with aclosing(aiter(queue)) as messages:
            message = await anext(messages)
        # Its channel is still there.
        await message.aack()
        async for message in queue:
            await message.areject(requeue=True)
            break
    assert await rest(url, name, 2) == [2, 3]


async def test_it_waits_for_messages(url: str, named: Named) -> None:
    name, got = named(), []

    async def read(connection: Any) -> None:
        async for message in Queue(name, no_ack=True)(connection):
            got.append(message.payload)  # noqa: PERF401 - it has no end

    async with Connection(url) as one, Connection(url) as other:
        await send(other, name)
        reading = asyncio.ensure_future(read(one))
        for number in range(3):
            await send(other, name, number)
            await until(lambda: len(got) == number + 1)  # noqa: B023
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert got == [0, 1, 2]


async def test_several_queues_of_one_connection(url: str, named: Named) -> None:
    """Whoever drains the connection gets the messages of all."""
    names, got = [named(str(n)) for n in range(3)], []

    async def read(connection: Any, name: str) -> None:
        async for message in Queue(name)(connection):
            got.append(message.payload)
            await message.aack()
            if message.payload[1] == 3:
                return

    async with Connection(url) as one, Connection(url) as other:
        for name in names:
            await send(other, name)
        reading = [asyncio.ensure_future(read(one, name)) for name in names]
        for number in range(4):
            for name in names:
                await send(other, name, [name, number])
        await asyncio.wait_for(asyncio.gather(*reading), 60)
    assert sorted(got) == [[name, n] for name in sorted(names) for n in range(4)]


async def test_a_consumer(url: str, named: Named) -> None:
    name = named()
    called: list[Any] = []
    got: list[Any] = []

    async def callback(body: Any, message: Any) -> None:
        await message.aack()
        called.append(body)

    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, *range(4))
        callbacks = [callback]
        consumer = one.Consumer([Queue(name)], callbacks=callbacks, tag_prefix="it.")
        async with consumer:
            async with aclosing(aiter(consumer)) as messages:
                async for message in messages:
                    (tag,) = consumer._active_tags.values()
                    assert tag.startswith("it.")
                    got.append(message.payload)
                    await message.aack()
                    if len(got) == 2:
                        break
            # It is an ordinary consumer again, which goes on.
            assert consumer.callbacks is callbacks
            while len(called) < 2:
                await one.adrain_events(timeout=30)
    assert got == [0, 1]
    assert sorted(called) == [2, 3]


async def test_a_consumer_with_a_limit(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, *range(4))
        consumer = one.Consumer([Queue(name)], prefetch_count=2)
        async with aclosing(aiter(consumer)) as messages:
            first, second = await anext(messages), await anext(messages)
            await second.aack()
            await first.aack()
        assert not consumer._active_tags
    assert (first.payload, second.payload) == (0, 1)
    assert await rest(url, name, 2) == [2, 3]


async def test_what_it_raises(url: str, named: Named) -> None:
    name = named()
    with pytest.raises(NotBoundError):
        async for _ in Queue(name):
            pass

    async def on_message(message: Any) -> None: ...

    async with Connection(url) as one:
        for consumer in (
            one.Consumer([Queue(name)], on_message=on_message),
            one.Consumer([]),
        ):
            with pytest.raises(ValueError, match="consumer"):
                async for _ in consumer:
                    pass
        await one.Producer().apublish({1}, routing_key=name, serializer="pickle")
        await Queue(name)(one).adeclare()
        await one.Producer().apublish({1}, routing_key=name, serializer="pickle")
        async with one.Consumer([Queue(name)], accept=["json"]) as consumer:
            with pytest.raises(kombu.exceptions.ContentDisallowed):
                async for _ in consumer:
                    pass
            await consumer.apurge()


async def test_a_simple_queue(url: str, named: Named) -> None:
    got = []
    async with Connection(url) as one, one.SimpleQueue(named()) as queue:
        for number in range(3):
            await queue.aput(number)
        async for message in queue:
            await message.aack()
            got.append(message.payload)
            if len(got) == 3:
                break
    assert got == [0, 1, 2]


async def test_what_was_not_given_out_goes_back(url: str, named: Named) -> None:
    """One that another wait of the connection has delivered."""
    name = named()
    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, 1, 2, 3)
        async with one.Consumer([Queue(name)], prefetch_count=3) as consumer:
            async for message in consumer:
                await message.aack()
                while held(consumer) < 2:
                    await one.adrain_events(timeout=30)
                break
    assert await rest(url, name, 2) == [2, 3]


def held(consumer: Any) -> int:
    return len(vars(consumer)["_bridge_iteration"]._box.buffer)


async def test_what_cannot_go_back_is_kept(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as one, Connection(url) as other:
        await send(other, name, 1, 2, 3)
        consumer = one.Consumer([Queue(name)], no_ack=True)
        async with aclosing(aiter(consumer)) as messages:
            assert (await anext(messages)).payload == 1
            while held(consumer) < 2:
                await one.adrain_events(timeout=30)
        async with aclosing(aiter(consumer)) as messages:
            assert [(await anext(messages)).payload for _ in range(2)] == [2, 3]
