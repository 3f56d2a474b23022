"""What the Redis channel has of its own."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("redis")

import kombu

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection


async def test_own_verbs(redis_url: str, unique: str) -> None:
    with Connection(redis_url) as connection:
        channel = connection.channel()
        await channel.aqueue_declare(unique)
        await channel.abasic_consume(unique, False, print, consumer_tag="tag")
        assert channel.active_queues == [unique]
        await channel.abasic_cancel("tag")
        assert channel.active_queues == []
        channel.exchange_declare(unique)
        assert await channel.aget_table(unique) == channel.get_table(unique) == []
        async with channel.aconn_or_acquire() as client:
            assert client.ping()
        async with channel.aconn_or_acquire(client) as same:
            assert same is client
        await channel.aqueue_delete(unique)
        await channel.aclose()
        assert channel.closed


@pytest.mark.parametrize(
    "name", ["maybe_reauth", "sweep_bindings", "maybe_refresh_binding_expiry"]
)
async def test_upkeep(redis_url: str, name: str) -> None:
    with Connection(redis_url) as connection:
        channel = connection.channel()
        if not hasattr(channel, name):
            assert not hasattr(channel, f"a{name}")
            pytest.skip("this Kombu has no such upkeep")
        for _ in range(100):  # what earlier runs have left behind
            if not getattr(channel, name)():
                break
        assert await getattr(channel, f"a{name}")() == getattr(channel, name)()


async def test_batch(redis_url: str, unique: str) -> None:
    with Connection(redis_url) as connection:
        channel: Any = connection.channel()
        if not hasattr(channel, "create_publish_batch"):
            pytest.skip("this Kombu has no batches")
        channel.queue_declare(unique)
        batch = channel.create_publish_batch(max_size=2)

        def message() -> Any:
            return channel.prepare_message("x")

        await batch.apublish(message(), exchange="", routing_key=unique)
        assert await channel._asize(unique) == 0
        await batch.apublish(message(), exchange="", routing_key=unique)
        assert await channel._asize(unique) == 2
        await batch.apublish(message(), exchange="", routing_key=unique)
        await batch.aflush()
        assert await channel._asize(unique) == 3
        await batch.aclose()
        with pytest.raises(RuntimeError):
            await batch.aflush()
        channel.queue_delete(unique)
