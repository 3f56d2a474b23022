# The stubs of kombu do not know its private state.
# mypy: disable-error-code="import-untyped"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
import redis
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError

from celery_async_bridge.core.taps import Replay, replay
from celery_async_bridge.drivers.redis.link import lost
from celery_async_bridge.drivers.redis.mux import muxes
from tests.unit.core.help import closed_port, until
from tests.unit.drivers.redis.help import call

POLICY = {"max_retries": 3, "interval_start": 0, "interval_max": 0}


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


def _told_of_a_loss(connection: Any) -> None:
    """Have Kombu hear of a loss that a call has met elsewhere, and recover from it."""
    failure = ConnectionError("lost")
    failure.uncertain = True  # type: ignore[attr-defined]
    token = replay.set(Replay(failure))
    try:
        kombu.Producer(connection).publish(
            {}, routing_key="q", retry=True, retry_policy=POLICY
        )
    finally:
        replay.reset(token)


async def test_a_channel_made_since_a_loss_is_kept(connection: Any) -> None:
    def work() -> tuple[Any, Any]:
        _told_of_a_loss(connection)
        first = connection.default_channel
        _told_of_a_loss(connection)
        return first, connection.default_channel

    first, second = await call(work)
    assert first is second


async def test_a_channel_from_before_a_loss_is_replaced(connection: Any) -> None:
    def send() -> Any:
        _told_of_a_loss(connection)
        assert connection.declared_entities is not None
        return connection.default_channel

    first = await call(send)
    (mux,) = [one for one in muxes() if one.up]
    link: Any = mux._link
    link.abort()
    await until(lambda: not mux.up)
    assert await call(send) is not first


async def test_a_failure_of_the_call_itself_replaces_the_channel(
    connection: Any,
) -> None:
    def work() -> tuple[Any, Any]:
        _told_of_a_loss(connection)
        first = connection.default_channel
        connection.collect()
        return first, connection.default_channel

    first, second = await call(work)
    assert first is not second


async def test_another_broker_in_the_list_gets_a_channel_of_its_own(
    redis_url: str, unique: str
) -> None:
    other = redis_url.rpartition("/")[0] + "/3"
    with kombu.Connection(f"{redis_url};{other}") as connection:

        def work() -> tuple[Any, Any, Any]:
            first: Any = connection.default_channel
            database = first.client.connection_pool.connection_kwargs["db"]
            connection.switch(other)
            second: Any = connection.default_channel
            return database, first, second

        database, first, second = await call(work)
    assert first is not second
    assert database != second.client.connection_pool.connection_kwargs["db"]
    assert second.client.connection_pool.connection_kwargs["db"] == 3


async def test_attempts_while_nobody_listens_make_no_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []
    original = redis.ConnectionPool.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(redis.ConnectionPool, "__init__", init)
    with kombu.Connection(f"redis://127.0.0.1:{closed_port()}/0") as connection:

        def work() -> int:
            with pytest.raises(OperationalError):
                connection.ensure_connection(
                    errback=lambda *_: attempts.append(1),
                    max_retries=4,
                    interval_start=0,
                    interval_max=0,
                )
            return len(made)

        attempts: list[int] = []
        assert await call(work) == 1
    assert len(attempts) == 4


class Loses:
    """An operation that so many times loses its channel before it writes."""

    def __init__(self, connection: Any, losses: int) -> None:
        self.connection = connection
        self.losses = losses
        self.channel = None
        self.tries = 0

    def revive(self, channel: Any) -> None:
        """Take another channel."""
        self.channel = channel

    def work(self) -> Any:
        """Ask over the channel in hand."""
        self.tries += 1
        if self.losses:
            self.losses -= 1
            self.connection.collect()
        return self.channel._size("q")  # type: ignore[attr-defined]


async def test_what_was_not_written_is_tried_as_often_as_the_policy_allows(
    connection: Any,
) -> None:
    def work(losses: int, policy: Any) -> int:
        loses = Loses(connection, losses)
        loses.revive(connection.default_channel)
        assert connection.ensure(loses, loses.work, **policy)() == 0
        return loses.tries

    assert await call(lambda: work(0, POLICY)) == 1
    assert await call(lambda: work(3, POLICY)) == 4
    assert await call(lambda: work(5, {**POLICY, "max_retries": None})) == 6

    def fails() -> Loses:
        loses = Loses(connection, 9)
        loses.revive(connection.default_channel)
        with pytest.raises(OperationalError, match="connection was lost"):
            connection.ensure(loses, loses.work, **POLICY)()
        return loses

    assert (await call(fails)).tries == 4


async def test_what_may_have_been_written_is_tried_as_often_as_by_kombu(
    connection: Any,
) -> None:
    tries = 0

    def breaks() -> None:
        nonlocal tries
        tries += 1
        raise lost("in the middle", uncertain=True)

    def work() -> None:
        connection.ensure(connection, breaks, **POLICY)()

    with pytest.raises(OperationalError, match="in the middle"):
        await call(work)
    assert tries == 2
