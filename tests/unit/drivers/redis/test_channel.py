# The stubs of kombu do not know its private state.
# mypy: disable-error-code="import-untyped"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError

from tests.unit.core.help import closed_port
from tests.unit.drivers.redis.help import call


@pytest.fixture
def connection(redis_url: str, unique: str) -> Iterator[Any]:
    options = {"global_keyprefix": f"{unique}:"}
    with kombu.Connection(redis_url, transport_options=options) as found:
        yield found


async def test_a_channel_makes_one_client_for_calls_on_the_loop(
    connection: Any,
) -> None:
    def made() -> tuple[Any, Any, Any]:
        channel = connection.default_channel
        return channel, channel._create_client(), channel._create_client()

    channel, first, second = await call(made)
    assert first is second
    assert first.connection_pool is channel.pool

    def without() -> tuple[Any, Any]:
        return channel._create_client(), channel._create_client()

    theirs = await asyncio.to_thread(without)
    assert len({id(first), *map(id, theirs)}) == 3


async def test_a_channel_with_another_pool_has_another_client(
    connection: Any,
) -> None:
    def work() -> tuple[Any, Any]:
        channel = connection.default_channel
        first = channel._create_client()
        channel._disconnect_pools()
        return first, channel._create_client()

    first, second = await call(work)
    assert first is not second
    assert await call(second.ping)


async def test_a_channel_that_was_closed_fails_as_a_lost_connection(
    connection: Any,
) -> None:
    def work() -> None:
        channel = connection.default_channel
        channel.close()
        channel.connection = None
        channel._disconnect_pools()
        channel._size("q")

    with pytest.raises(ConnectionError) as caught:
        await call(work)
    assert caught.value.uncertain is False  # type: ignore[attr-defined]


async def test_nobody_listens(unique: str) -> None:
    url = f"redis://127.0.0.1:{closed_port()}/0"
    with kombu.Connection(url) as connection:

        def publish() -> None:
            producer = kombu.Producer(connection)
            policy = {"max_retries": 2, "interval_start": 0.01, "interval_max": 0.01}
            producer.publish({}, routing_key=unique, retry=True, retry_policy=policy)

        with pytest.raises(OperationalError):
            await call(publish)
