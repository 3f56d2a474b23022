"""What was claimed goes back when it is not delivered; nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import kombu
import kombu.transport.redis
import pytest
import redis

from celery_async_bridge.core.trampoline import await_, spawn
from celery_async_bridge.drivers.redis import intake as intake_module
from celery_async_bridge.drivers.redis import tending
from celery_async_bridge.drivers.redis.holding import holding_of
from celery_async_bridge.drivers.redis.intake import intake_of
from tests.unit.core.help import until
from tests.unit.drivers.redis.consuming import (
    Consumer,
    Place,
    asleep,
    consuming,
    eventually,
    queue,
    read_ahead,
)

if TYPE_CHECKING:
    from tests.unit.drivers.redis.help import Watcher

#: What Kombu has from 5.7 on.
REFRESH = "maybe_refresh_binding_expiry"


@pytest.fixture
def place(redis_url: str, unique: str) -> Place:
    return Place(redis_url, unique, client_name=unique)


# -- giving back ----------------------------------------------------------------------


async def test_what_was_not_delivered_goes_back_in_order(place: Place) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        before = await place.left("q")
        await consumer.consumer.acancel()
        assert len(await place.left("q")) > len(before)
        assert len(await place.unacked()) == 2
        assert not any("redelivered" in m["headers"] for m in await place.left("q"))
        for message in consumer.messages:
            await message.aack()
    assert await place.order(["q"], 18) == list(range(2, 20))


async def test_it_goes_back_when_the_connection_is_closed(place: Place) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        await consumer.connection.aclose()
        assert await place.unacked() == {}
        assert await place.ask("LLEN", "q") == 20


def test_it_goes_back_when_the_loop_ends(place: Place) -> None:
    connection = place.connect()

    async def main() -> None:
        await place.put("q", *range(20))
        consumer = await connection.aconsumer([queue("q")], no_ack=False)
        here = Consumer(connection, consumer)
        consumer.register_callback(here.receive)
        await consumer.aconsume()
        await read_ahead(here)

    asyncio.run(main())
    # What was delivered is Kombu's to restore, when the connection is closed.
    assert place.server.hlen(f"{place.prefix}unacked") == 2
    connection.close()
    assert place.server.hlen(f"{place.prefix}unacked") == 0
    assert place.server.llen(f"{place.prefix}q") == 20


async def test_it_goes_back_when_a_thread_closes_the_connection(place: Place) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        await asyncio.to_thread(consumer.connection.close)
        assert await place.unacked() == {}
        assert await place.ask("LLEN", "q") == 20


async def test_it_goes_back_when_nobody_asks_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "LINGER", 0.05)
    await place.put("q", *range(20))
    async with consuming(place, "q", no_ack=True) as consumer:
        await read_ahead(consumer)
        await eventually(lambda: place.ask("LLEN", "q"), 18)
        assert await place.unacked() == {}
        assert await consumer.drain(18) == list(range(2, 20))


async def test_a_claim_on_its_way_goes_back_too(place: Place) -> None:
    async with consuming(place, "q") as consumer:
        for _ in range(20):
            await place.put("q", 1)
            wait = asyncio.ensure_future(consumer.connection.adrain_events())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            wait.cancel()
            await consumer.consumer.acancel()
            if consumer.messages:
                await consumer.messages.pop().areject(requeue=True)
            assert await place.unacked() == {}
            assert await place.ask("LLEN", "q") == 1
            await place.ask("DEL", "q")
            await consumer.consumer.aconsume()


# -- losses, and long work ------------------------------------------------------------


async def test_after_a_loss_it_goes_on(place: Place, watcher: Watcher) -> None:
    async with consuming(place, "q", no_ack=True) as consumer:
        wait = asyncio.ensure_future(consumer.drain())
        await asleep(consumer)
        await watcher.kill()
        # As in sync code the loss is raised, or nobody has noticed it.
        await place.put("q", 1)
        errors = consumer.connection.connection_errors
        try:
            assert await asyncio.wait_for(wait, 20) == [1]
        except errors:
            assert await consumer.drain() == [1]
        await place.put("q", 2)
        assert await consumer.drain() == [2]


async def test_a_claim_whose_reply_was_lost_is_taken_back(place: Place) -> None:
    await place.put("q", *range(3))
    async with consuming(place, "q") as consumer:
        await consumer.drain()
        intake = intake_of(consumer.channel)
        assert intake is not None
        (first,) = await place.unacked()
        # As if the connection had broken before the server's answer.
        intake.ledger.doubtful.add(holding_of(consumer.channel).held.pop(first))
        await consumer.drain(3)
        assert sorted(consumer.bodies) == [0, 0, 1, 2]
        assert intake.ledger.doubtful == set()


async def test_long_work_is_not_restored_by_others(redis_url: str, unique: str) -> None:
    place = Place(redis_url, unique, visibility_timeout=1)
    await place.put("q", 1)
    async with consuming(place, "q") as consumer:
        await consumer.drain()
        (tag,) = await place.unacked()
        first = await place.ask("ZSCORE", "unacked_index", tag)

        async def is_young() -> bool:
            now = await place.ask("ZSCORE", "unacked_index", tag)
            return bool(float(now) > float(first) + 1)

        await eventually(is_young, True)
        assert await place.unacked()
        await consumer.messages[0].aack()
        assert await place.unacked() == {}


@pytest.mark.parametrize("whose", ["ours", "theirs"])
async def test_it_restores_what_others_have_left(
    redis_url: str, unique: str, whose: str
) -> None:
    place = Place(redis_url, unique, unacked_restore_interval=0.05)
    await place.put("q", 1)

    def leave(connection: Any) -> None:
        channel = connection.default_channel
        assert queue("q", channel=channel).get().payload == 1
        # As if it had been killed.
        channel.qos._delivered.clear()

    if whose == "theirs":
        await place.stock(leave)
    else:
        async with place.connect() as connection:
            await spawn(partial(leave, connection))
    await place.age()
    assert len(await place.unacked()) == 1
    async with consuming(place, "q", no_ack=True) as consumer:
        assert await consumer.drain() == [1]
        assert consumer.messages[0].headers["redelivered"]
    assert await place.ask("EXISTS", "unacked_mutex") == 0


# -- what must not happen -------------------------------------------------------------


async def test_a_thousand_cancelled_waits_lose_nothing(place: Place) -> None:
    count, found, cancelled = 200, list[Any](), 0
    async with place.connect() as connection:
        putting = asyncio.ensure_future(place.put("q", *range(count)))
        async with connection.asimple_queue(queue("q")) as simple:
            while cancelled < 1000 or len(found) < count:
                wait = asyncio.ensure_future(simple.aget(timeout=20))
                # At whatever point the call is.
                for _ in range(random.randrange(15)):
                    await asyncio.sleep(0)
                if cancelled < 1000:
                    wait.cancel()
                try:
                    message = await wait
                except asyncio.CancelledError:
                    cancelled += 1
                else:
                    await message.aack()
                    found.append(message.payload)
        await putting
    assert sorted(found) == list(range(count))
    assert await place.unacked() == {}
    assert await place.ask("LLEN", "q") == 0


async def test_it_goes_back_when_there_is_no_credit_any_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "LINGER", 0.05)
    await place.put("q", *range(20))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        await consumer.consumer.aqos(prefetch_count=1)
        wait = asyncio.ensure_future(consumer.drain())
        await eventually(lambda: place.ask("LLEN", "q"), 18)
        assert len(await place.unacked()) == 2
        for message in consumer.messages[:2]:
            await message.aack()
        assert await wait == [2]


async def test_a_forked_child_puts_nothing_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        before = await place.ask("LLEN", "q")
        intake = intake_of(consumer.channel)
        assert intake is not None
        # A child has a copy of all this.
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: 1)
            intake.returns.drop_blocking(consumer.channel.pool)
        assert await place.ask("LLEN", "q") == before


class Tunnelled(redis.Connection):
    """As one that goes through a proxy: only its own code can connect it."""

    def _connect(self) -> Any:
        return super()._connect()  # type: ignore[no-untyped-call]


class TunnelledChannel(kombu.transport.redis.Channel):
    connection_class = Tunnelled


class TunnelledTransport(kombu.transport.redis.Transport):
    Channel = TunnelledChannel


async def test_what_only_its_own_class_can_connect_is_read_in_a_thread(
    place: Place,
) -> None:
    url = urlsplit(place.url)
    await place.put("q", 1, 2)
    connection: Any = kombu.Connection(
        transport=TunnelledTransport,
        hostname=str(url.hostname),
        port=url.port,
        virtual_host=url.path.strip("/"),
        transport_options=place.options,
    )
    async with connection as opened, opened.asimple_queue(queue("q")) as simple:
        for body in (1, 2):
            message = await simple.aget(timeout=20)
            assert message.payload == body
            await message.aack()
        with pytest.raises(simple.Empty):
            await simple.aget(timeout=0.05)
        # The way that a call takes which is in a trampoline already.
        late = asyncio.ensure_future(spawn(lambda: simple.get(timeout=20)))
        await place.put("q", 3)
        message = await late
        assert message.payload == 3
        await message.aack()
    assert await place.unacked() == {}


# -- what is due ----------------------------------------------------------------------


async def test_what_is_refreshed_is_not_refreshed_after_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.connect() as connection:
        bound = queue("q", expires=60)
        consumer = await connection.aconsumer([bound])
        begun, ended = asyncio.Event(), list[str]()

        def refresh(self: Any) -> None:
            begun.set()
            try:
                await_(asyncio.sleep(60))
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        monkeypatch.setattr(type(consumer.channel), REFRESH, refresh, raising=False)
        await consumer.aconsume()
        wait = asyncio.ensure_future(connection.adrain_events(timeout=20))
        await begun.wait()
        await consumer.acancel()
        await until(lambda: ended)
        wait.cancel()


async def test_kombus_lock_is_held_for_seconds_at_most(
    redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(redis_url, unique, unacked_restore_interval=0.05)
    await place.put("q", 1)
    async with place.connect() as connection:
        channel = await connection.adefault_channel()
        await queue("q", channel=channel).aget()
        await place.age()
        left: list[int] = []
        qos = type(channel.qos)
        original = qos.restore_by_tag

        def looks(self: Any, tag: Any, *args: Any, **kwargs: Any) -> Any:
            left.append(place.server.pttl(f"{place.prefix}unacked_mutex"))
            return original(self, tag, *args, **kwargs)

        monkeypatch.setattr(qos, "restore_by_tag", looks)
        async with consuming(place, "q", no_ack=True) as consumer:
            assert await consumer.drain() == [1]
    (first, *_) = left
    assert 0 < first <= 10_000
    assert await place.ask("EXISTS", "unacked_mutex") == 0


async def test_while_somebody_else_has_the_lock_it_is_left_to_them(
    redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(redis_url, unique, unacked_restore_interval=0.05)
    await place.put("q", 1)
    async with place.connect() as connection:
        channel = await connection.adefault_channel()
        message = await queue("q", channel=channel).aget()
        await place.age()
        await place.ask("SET", "unacked_mutex", "theirs", "PX", 60_000)
        looks: list[Any] = []
        qos = type(channel.qos)
        original = qos.restore_visible

        def looked(self: Any, *args: Any, **kwargs: Any) -> Any:
            looks.append(kwargs)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(qos, "restore_visible", looked)
        async with consuming(place, "q", no_ack=True) as consumer:
            with pytest.raises(TimeoutError):
                await consumer.connection.adrain_events(timeout=0.2)
            await until(lambda: looks)
            assert len(looks) == 1
        assert await place.ask("GET", "unacked_mutex") == b"theirs"
        await message.aack()


async def test_all_that_is_old_is_restored_in_parts(
    redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "RESTORED", 2)
    place = Place(redis_url, unique)
    await place.put("q", *range(5))
    async with place.connect() as connection:
        bound = queue("q", channel=await connection.adefault_channel())
        for _ in range(5):
            await bound.aget()
        await place.age()
        async with consuming(place, "q", no_ack=True) as consumer:
            assert sorted(await consumer.drain(5)) == list(range(5))
    assert await place.unacked() == {}
