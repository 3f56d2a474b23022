"""Channels, QoS and transports of the virtual transports."""

from __future__ import annotations

import asyncio
import queue
import time
from typing import Any

import kombu
import pytest
from kombu.exceptions import ChannelError

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection


@pytest.fixture(params=["memory", "redis"])
def broker_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue("redis_url"))


async def test_verbs_of_a_channel(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        channel = connection.channel()
        sync = connection.channel()
        await channel.aexchange_declare(unique, "direct")
        declared = await channel.aqueue_declare(unique)
        assert declared == sync.queue_declare(unique)
        await channel.aqueue_bind(unique, unique, "key")
        assert (unique, unique, "key") in await channel.alist_bindings() or (
            broker_url.startswith("redis")
        )
        assert list(await channel.aget_table(unique)) == list(sync.get_table(unique))
        assert set(await channel._alookup(unique, "key")) == {unique}

        message = channel.prepare_message("body", content_type="text/plain")
        assert await channel.abasic_publish(message, unique, "key") is None
        assert await channel._asize(unique) == 1
        assert await channel._ahas_queue(unique) is True
        got = await channel.abasic_get(unique)
        assert got.body.decode() if isinstance(got.body, bytes) else got.body == "body"
        await channel.abasic_reject(got.delivery_tag, requeue=True)
        got = await channel.abasic_get(unique)
        await channel.abasic_ack(got.delivery_tag)
        assert await channel.abasic_get(unique) is None

        await channel._aput(unique, channel.prepare_message("again"))
        assert (await channel._aget(unique))["body"]
        with pytest.raises(queue.Empty):
            await channel._aget(unique)
        await channel._aput(unique, channel.prepare_message("again"))
        assert await channel.aqueue_purge(unique) == 1
        assert await channel._apurge(unique) == 0

        await channel.aqueue_unbind(unique, unique, "key")
        await channel.aqueue_delete(unique)
        if broker_url.startswith("redis"):
            with pytest.raises(ChannelError):
                await channel.aqueue_declare(unique, passive=True)
        await channel.aexchange_delete(unique)
        with pytest.raises(NotImplementedError):
            await channel.aflow(True)
        with pytest.raises(NotImplementedError):
            await channel.abasic_recover(requeue=False)
        await channel.aclose()
        assert channel.closed


async def test_consuming_on_a_channel(broker_url: str, unique: str) -> None:
    got: list[Any] = []
    with Connection(broker_url) as connection:
        async with connection.channel() as channel:
            await channel.aqueue_declare(unique)
            await channel.abasic_qos(0, 5, False)
            assert channel.qos.prefetch_count == 5
            await channel.abasic_consume(unique, False, got.append, "tag")
            await channel.abasic_publish(channel.prepare_message("x"), "", unique)
            transport = connection.transport
            await transport.adrain_events(transport, timeout=30)
            assert len(got) == 1
            await channel.abasic_cancel("tag")
        assert channel.closed
        if not channel.do_restore:
            return
        # It was left unsettled: closing the channel has returned it.
        async with connection.channel() as channel:
            again = await channel.abasic_get(unique)
            assert again is not None
            assert again.properties["delivery_info"]["redelivered"] is True
            await channel.qos.aack(again.delivery_tag)
            await channel.aqueue_delete(unique)


async def test_qos_restores(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        channel = connection.channel()
        channel.queue_declare(unique)
        for body in ("one", "two"):
            channel.basic_publish(channel.prepare_message(body), "", unique)
        first, second = channel.basic_get(unique), channel.basic_get(unique)
        assert channel.basic_get(unique) is None
        await channel.qos.areject(first.delivery_tag, requeue=True)
        if broker_url.startswith("memory"):
            assert await channel.qos.arestore_unacked() == []
            assert await channel._asize(unique) == 2
        await channel.qos.arestore_unacked_once()
        await channel.qos.arestore_visible()
        assert second.body
        channel.queue_delete(unique)


async def test_drain_of_a_transport_times_out(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        channel = connection.default_channel
        channel.queue_declare(unique)
        channel.basic_consume(unique, True, print, "tag")
        transport = connection.transport
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await transport.adrain_events(transport, timeout=0.3)
        assert 0.29 < time.monotonic() - began < 30
        channel.basic_cancel("tag")


async def test_drain_of_a_transport_can_be_cancelled(
    broker_url: str, unique: str
) -> None:
    with Connection(broker_url) as connection:
        channel = connection.default_channel
        channel.queue_declare(unique)
        channel.basic_consume(unique, True, print, "tag")
        transport = connection.transport
        draining = asyncio.ensure_future(transport.adrain_events(transport))
        await asyncio.sleep(0.2)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(draining, 30)
        # And the turn of the connection is free.
        await channel.abasic_cancel("tag")


async def test_transport_makes_connections_and_channels(broker_url: str) -> None:
    with Connection(broker_url) as connection:
        transport = connection.transport
        made = await transport.aestablish_connection()
        channel = await transport.acreate_channel(made)
        assert channel in transport.channels
        await transport.aclose_channel(channel)
        assert channel not in transport.channels
        await transport.aclose_connection(made)
        assert not transport.channels


async def test_drain_of_a_channel(unique: str) -> None:
    got: list[Any] = []
    with Connection("memory://") as connection:
        channel = connection.channel()
        with pytest.raises(queue.Empty):
            await channel.adrain_events()
        channel.queue_declare(unique)
        channel.basic_consume(unique, True, print, "tag")
        channel.basic_publish(channel.prepare_message("x"), "", unique)
        await channel.adrain_events(timeout=1, callback=lambda *a: got.append(a))
        assert got[0][1] == unique
        channel.basic_publish(channel.prepare_message("x"), "", unique)
        await channel._apoll(channel.cycle, lambda *a: got.append(a))
        assert len(got) == 2
        channel.basic_publish(channel.prepare_message("x"), "", unique)
        await channel._adelete(unique)
        assert channel._size(unique) == 0
        assert await channel.aafter_reply_message_received(unique) is None
