"""Kombu's AMQP transport."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import amqp
import kombu
import pytest
from amqp.exceptions import AccessRefused

from tests.unit.core.help import closed_port

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection


async def test_connections_and_channels(amqp_url: str) -> None:
    with Connection(amqp_url) as connection:
        transport = connection.transport
        made = await transport.aestablish_connection()
        assert made.connected
        channel = await transport.acreate_channel(made)
        assert channel.is_open
        assert await transport.aheartbeat_check(made, rate=2) is None
        await channel.aclose()
        await transport.aclose_connection(made)
        assert not made.connected


async def test_drain_delivers_times_out_and_can_be_cancelled(
    amqp_url: str, unique: str
) -> None:
    got: list[str] = []
    with Connection(amqp_url) as connection:
        transport, made = connection.transport, connection.connection
        channel = connection.default_channel
        channel.queue_declare(unique, auto_delete=True)
        channel.basic_consume(
            unique, no_ack=True, callback=lambda m: got.append(m.body)
        )
        message = amqp.Message("x")
        channel.basic_publish(message, routing_key=unique)
        while not got:
            await transport.adrain_events(made, timeout=30)
        assert got == ["x"]
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await transport.adrain_events(made, timeout=0.3)
        assert 0.29 < time.monotonic() - began < 30
        draining = asyncio.ensure_future(transport.adrain_events(made))
        await asyncio.sleep(0.2)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(draining, 30)
        assert connection.connected


async def test_failures_are_those_of_the_sync_twin(amqp_url: str) -> None:
    with Connection(f"amqp://guest:guest@127.0.0.1:{closed_port()}//") as connection:
        with pytest.raises(ConnectionRefusedError):
            await connection.transport.aestablish_connection()
        with pytest.raises(ImportError):
            await connection.transport.aget_manager()
    wrong = amqp_url.replace("guest:guest@", "guest:wrong@")
    assert wrong != amqp_url
    with Connection(wrong) as connection, pytest.raises(AccessRefused):
        await connection.transport.aestablish_connection()
