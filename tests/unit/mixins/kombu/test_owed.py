"""Consumers and simple queues that are made on the loop, as upstream makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import kombu
import pytest

from celery_async_bridge.testing.tripwire import tripwire

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Consumer: Any = kombu.Consumer
Queue: Any = kombu.Queue
Named = Callable[..., str]


def exists(url: str, name: str) -> bool:
    with Connection(url) as connection, connection.channel() as channel:
        try:
            queue = Queue(name, channel=channel, durable=False)
            queue.queue_declare(passive=True)
        except connection.channel_errors:
            return False
    return True


async def test_nothing_blocks_and_all_is_declared(url: str, named: Named) -> None:
    name, got = named(), []

    def take(body: Any, message: Any) -> None:
        got.append(body)
        message.ack()

    with tripwire():
        async with Connection(url) as connection:
            one = connection.Consumer(
                [Queue(name)], callbacks=[take], prefetch_count=3, tag_prefix="mine."
            )
            other = Consumer(connection, [Queue(named("other"))])
            assert one.prefetch_count == 3
            assert one.auto_declare
            async with one, other:
                (tag,) = one._active_tags.values()
                assert tag.startswith("mine.")
                await connection.Producer().apublish(1, routing_key=name)
                while not got:
                    await connection.adrain_events(timeout=30)
            async with connection.SimpleQueue(named("simple")) as queue:
                await queue.aput(2)
                message = await queue.aget(timeout=30)
                assert message.payload == 2
                await message.aack()
    assert got == [1]


@pytest.mark.parametrize("broker_url", ["memory", "amqp"], indirect=True)
async def test_declared_by_the_first_use(broker_url: str, unique: str) -> None:
    async with Connection(broker_url) as connection:
        queue = Queue(unique, durable=False, auto_delete=True)
        consumer = connection.Consumer([queue])
        assert not await asyncio.to_thread(exists, broker_url, unique)
        assert await consumer.apurge() == 0
        assert await asyncio.to_thread(exists, broker_url, unique)
        await consumer.queues[0].adelete()


async def test_a_sync_method_declares_as_well(broker_url: str, unique: str) -> None:
    async with Connection(broker_url) as connection:
        simple = connection.SimpleQueue(unique)
        simple.put(1)
        assert simple.get(timeout=5).payload == 1
        simple.close()


async def test_put_on_a_simple_queue_reaches_it(url: str, named: Named) -> None:
    """Nothing has declared it before: a message would be dropped."""
    async with Connection(url) as connection:
        await connection.SimpleQueue(name := named()).aput("kept")
        queue = connection.SimpleQueue(name)
        message = await queue.aget_nowait()
        assert message.payload == "kept"
        await message.aack()


async def test_without_auto_declare_nothing_is(broker_url: str, unique: str) -> None:
    async with Connection(broker_url) as connection:
        queue = Queue(unique, durable=False, auto_delete=True)
        consumer = connection.Consumer([queue], auto_declare=False)
        await consumer.acancel()
        assert not exists(broker_url, unique)


async def test_other_connections_declare_at_once(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        queue = Queue(unique, durable=False, auto_delete=True)
        consumer = connection.Consumer([queue])
        assert exists(broker_url, unique)
        consumer.queues[0].delete()


async def test_what_failed_is_still_owed(
    url: str, named: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Connection(url) as connection:
        consumer = connection.Consumer([Queue(named())])
        with monkeypatch.context() as patch:
            patch.setattr(consumer, "declare", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await consumer.aconsume()
        assert not consumer._active_tags
        async with consumer:
            await connection.Producer().apublish(1, routing_key=consumer.queues[0].name)
            got: list[Any] = []
            consumer.register_callback(lambda body, message: got.append(body))
            await connection.adrain_events(timeout=30)
        assert got == [1]
