"""py-amqp's channel, with Kombu and without."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
import kombu
import pytest
from amqp.exceptions import NotFound, PreconditionFailed, RecoverableConnectionError

from celery_async_bridge.core.lane import lanes

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection


async def drained(connection: Any, condition: Any) -> None:
    for _ in range(50):
        if condition():
            return
        await connection.adrain_events(timeout=5)


async def test_exchanges_and_queues(amqp_url: str, unique: str) -> None:
    with Connection(amqp_url) as connection:
        async with connection.channel() as channel:
            other = f"{unique}.other"
            await channel.aexchange_declare(unique, "direct", auto_delete=False)
            await channel.aexchange_declare(other, "fanout", auto_delete=False)
            await channel.aexchange_bind(unique, other, "key")
            await channel.aexchange_unbind(unique, other, "key")
            declared = await channel.aqueue_declare(unique, auto_delete=False)
            assert tuple(declared) == (unique, 0, 0)
            await channel.aqueue_bind(unique, unique, "key")
            await channel.abasic_publish(amqp.Message("x"), unique, "key")
            got = await channel.abasic_get(unique)
            assert got.body == "x"
            await channel.abasic_reject(got.delivery_tag, True)
            await channel.abasic_recover(requeue=True)
            got = await channel.abasic_get(unique)
            await channel.abasic_ack(got.delivery_tag)
            assert await channel.abasic_get(unique) is None
            await channel.aqueue_unbind(unique, unique, "key")
            assert await channel.aqueue_purge(unique) == 0
            assert await channel.aqueue_delete(unique) == 0
            await channel.aexchange_delete(unique)
            await channel.aexchange_delete(other)
        assert not channel.is_open


async def test_consuming(amqp_url: str, unique: str) -> None:
    got: list[Any] = []
    with Connection(amqp_url) as connection:
        channel = connection.channel()
        await channel.aqueue_declare(unique)
        await channel.abasic_qos(0, 10, False)
        tag = await channel.abasic_consume(unique, callback=got.append)
        for number in range(3):
            await channel.abasic_publish(amqp.Message(str(number)), "", unique)
        await drained(connection, lambda: len(got) == 3)
        assert [one.body for one in got] == ["0", "1", "2"]
        await channel.abasic_ack(got[-1].delivery_tag, multiple=True)
        assert await channel.abasic_cancel(tag)


async def test_transactions_and_confirmations(amqp_url: str, unique: str) -> None:
    with Connection(amqp_url) as connection:
        channel = connection.channel()
        channel.queue_declare(unique, auto_delete=False)
        await channel.atx_select()
        await channel.abasic_publish(amqp.Message("x"), "", unique)
        await channel.atx_rollback()
        assert await channel.abasic_get(unique) is None
        await channel.abasic_publish(amqp.Message("y"), "", unique)
        await channel.atx_commit()
        assert (await channel.abasic_get(unique, no_ack=True)).body == "y"
        await channel.aclose()
        channel = connection.channel()
        await channel.aconfirm_select()
        await channel.abasic_publish_confirm(amqp.Message("z"), "", unique)
        assert (await channel.abasic_get(unique, no_ack=True)).body == "z"
        await channel.aqueue_delete(unique)


async def test_publish_is_the_confirming_one_where_that_is_set(
    amqp_url: str, unique: str
) -> None:
    """py-amqp sets it on the instance: the twin finds it there."""
    options = {"confirm_publish": True}
    with Connection(amqp_url, transport_options=options) as connection:
        channel = connection.channel()
        assert "basic_publish" in vars(channel)
        channel.queue_declare(unique)
        await channel.abasic_publish(amqp.Message("x"), "", unique)
        assert channel._confirm_selected


async def test_channels_of_one_connection_take_turns(
    amqp_url: str, unique: str
) -> None:
    with Connection(amqp_url) as connection:
        channels = [connection.channel() for _ in range(4)]
        declared = await asyncio.gather(
            *(
                channel.aqueue_declare(f"{unique}.{number}.{again}", auto_delete=True)
                for again in range(5)
                for number, channel in enumerate(channels)
            )
        )
        assert len({one.queue for one in declared}) == 20
        await asyncio.gather(*(channels[0].aqueue_delete(o.queue) for o in declared))


async def test_errors_are_those_of_the_sync_twin(amqp_url: str, unique: str) -> None:
    with Connection(amqp_url) as connection:
        with pytest.raises(NotFound):
            await connection.channel().aqueue_declare(unique, passive=True)
        channel = connection.channel()
        channel.queue_declare(unique, auto_delete=True)
        with pytest.raises(PreconditionFailed):
            await channel.aqueue_declare(unique, durable=True, auto_delete=True)
        closed = connection.channel()
        closed.close()
        with pytest.raises(RecoverableConnectionError):
            closed.queue_declare(unique)
        with pytest.raises(RecoverableConnectionError):
            await closed.aqueue_declare(unique)
        with pytest.raises(TypeError):
            await connection.channel().aqueue_bind()


async def test_without_kombu(amqp_url: str, unique: str) -> None:
    parts = urlsplit(amqp_url)
    connection: Any = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=parts.username or "guest",
        password=parts.password or "guest",
        virtual_host=unquote(parts.path[1:]) or "/",
    )
    connection.connect()
    try:
        first, second = connection.channel(), connection.channel()
        done = await asyncio.gather(
            *(one.aqueue_declare(unique) for one in (first, second) for _ in range(5))
        )
        assert {one.queue for one in done} == {unique}
        await first.aqueue_delete(unique)
    finally:
        connection.close()
    assert sum(lane.stuck for lane in lanes().values()) == 0
