"""Waiting for messages: who gets what, and when it is claimed."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import kombu
import pytest

from celery_async_bridge.core.trampoline import await_
from celery_async_bridge.drivers.redis.consume import desk_at
from celery_async_bridge.drivers.redis.intake import intake_of
from celery_async_bridge.drivers.redis.mux import muxes
from tests.unit.core.help import until
from tests.unit.drivers.redis.consuming import (
    Place,
    asleep,
    consuming,
    queue,
    read_ahead,
)


@pytest.fixture
def place(redis_url: str, unique: str) -> Place:
    return Place(redis_url, unique, client_name=unique)


# -- waiting --------------------------------------------------------------------------


async def test_what_lies_there_is_delivered(place: Place) -> None:
    await place.put("q", *range(5))
    async with consuming(place, "q") as consumer:
        assert await consumer.drain(5) == [0, 1, 2, 3, 4]
        assert len(await place.unacked()) == 5
        for message in consumer.messages:
            await message.aack()
        assert await place.unacked() == {}


@pytest.mark.parametrize("timeout", [0, 0.02])
async def test_nothing_came(place: Place, timeout: float) -> None:
    async with consuming(place, "q") as consumer:
        with pytest.raises(socket.timeout, match="timed out"):
            await consumer.connection.adrain_events(timeout=timeout)
        await place.put("q", 1)
        await consumer.connection.adrain_events(timeout=timeout or 20)
        assert consumer.bodies == [1]


async def test_a_message_wakes_the_one_who_waits(place: Place) -> None:
    async with consuming(place, "q", "p") as consumer:
        wait = asyncio.ensure_future(consumer.drain())
        await asleep(consumer)
        for name, body in (("p", 1), ("q", 2)):
            # The slow look that is there for safety does not count.
            begun = time.monotonic()
            await place.put(name, body)
            assert await wait == [body]
            assert time.monotonic() - begun < 4
            wait = asyncio.ensure_future(consumer.drain())
            await asleep(consumer)
        wait.cancel()


async def test_every_message_finds_one_of_many_who_wait(place: Place) -> None:
    async with consuming(place, "q", no_ack=True) as consumer:
        waits = [asyncio.ensure_future(consumer.drain()) for _ in range(50)]
        await asleep(consumer, 50)
        await place.put("q", *range(50))
        await asyncio.wait_for(asyncio.gather(*waits), 20)
        assert sorted(consumer.bodies) == list(range(50))


async def test_a_cancelled_wait_hands_on(place: Place) -> None:
    async with consuming(place, "q") as consumer:
        waits = [asyncio.ensure_future(consumer.drain()) for _ in range(20)]
        await asleep(consumer, 20)
        await place.put("q", 1)
        for wait in waits[:-1]:
            await asyncio.sleep(0)
            wait.cancel()
        await until(lambda: consumer.bodies)
        assert consumer.bodies == [1]
        waits[-1].cancel()
        await asyncio.wait(waits)


async def test_an_exception_of_a_callback_leaves_the_message_unacked(
    place: Place,
) -> None:
    await place.put("q", 1, 2)
    async with consuming(place, "q") as consumer:

        def fails(body: Any, message: Any) -> None:
            if body == 1:
                raise LookupError

        consumer.consumer.register_callback(fails)
        with pytest.raises(LookupError):
            await consumer.drain()
        assert await consumer.drain() == [2]
        assert len(await place.unacked()) == 2
    assert await place.ask("LLEN", "q") == 2


async def test_acks_in_callbacks_share_transactions(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.put("q", *range(200))
    async with consuming(place, "q") as consumer:
        consumer.consumer.register_callback(lambda body, message: message.ack())
        await consumer.drain()
        mux = next(iter(muxes()))
        written: list[int] = []
        tell = mux.tell

        def counted(data: bytes, count: int, told: Any) -> None:
            written.append(count)
            tell(data, count, told)

        monkeypatch.setattr(mux, "tell", counted)
        await consumer.drain(199)
        # Once nothing waits to be delivered the server has heard of all of them.
        assert await place.unacked() == {}
        assert len(written) < 199
    assert consumer.bodies == list(range(200))


async def test_without_acks_nothing_is_left_noted(place: Place) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q", no_ack=True) as consumer:
        assert await consumer.drain(20) == list(range(20))
        assert await place.unacked() == {}


# -- credit ---------------------------------------------------------------------------


async def test_no_more_is_claimed_than_there_is_credit(place: Place) -> None:
    await place.put("q", *range(10))
    async with consuming(place, "q", prefetch=3) as consumer:
        await consumer.drain(3)
        wait = asyncio.ensure_future(consumer.drain())
        await until(lambda: len(desk_at(consumer.connection.transport)) == 1)
        assert len(await place.unacked()) == 3
        assert await place.ask("LLEN", "q") == 7
        await consumer.messages[0].aack()
        assert await asyncio.wait_for(wait, 20) == [3]
        # A wider limit counts at once, too.
        wait = asyncio.ensure_future(consumer.drain())
        await until(lambda: len(desk_at(consumer.connection.transport)) == 1)
        await consumer.consumer.aqos(prefetch_count=4)
        assert await asyncio.wait_for(wait, 20) == [4]
        assert len(await place.unacked()) == 4


async def test_an_ack_of_another_thread_opens_the_credit(place: Place) -> None:
    await place.put("q", 1, 2)
    async with consuming(place, "q", prefetch=1) as consumer:
        await consumer.drain()
        wait = asyncio.ensure_future(consumer.drain())
        await until(lambda: len(desk_at(consumer.connection.transport)) == 1)
        thread = threading.Thread(target=consumer.messages[0].ack)
        thread.start()
        assert await asyncio.wait_for(wait, 20) == [2]
        await asyncio.to_thread(thread.join)


# -- queues ---------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["round_robin", "priority", "sorted"])
async def test_messages_come_in_the_order_of_kombu(
    redis_url: str, unique: str, strategy: str
) -> None:
    names, orders = ("b", "a"), []
    for kind in ("ours", "theirs"):
        place = Place(redis_url, unique + kind, queue_order_strategy=strategy)
        for number in range(6):
            for name in names:
                await place.put(name, name + str(number), priority=(number % 3) * 4)
        if kind == "theirs":
            orders.append(await place.order(names, 12))
        else:
            async with consuming(place, *names, no_ack=True) as consumer:
                orders.append(await consumer.drain(12))
    assert orders[0] == orders[1]


async def test_a_queue_that_is_added_while_somebody_waits(place: Place) -> None:
    async with consuming(place, "q", no_ack=True) as consumer:
        wait = asyncio.ensure_future(consumer.drain())
        await asleep(consumer)
        await consumer.consumer.aadd_queue(queue("new"))
        begun = time.monotonic()
        await consumer.consumer.aconsume()
        await place.put("new", 1)
        assert await wait == [1]
        assert time.monotonic() - begun < 4


async def test_fanout(place: Place) -> None:
    exchange = kombu.Exchange("all", type="fanout")

    def publish(connection: Any) -> None:
        producer = connection.Producer()
        producer.publish("x", exchange=exchange, declare=[exchange])

    async with place.connect() as connection:
        bound = kombu.Queue("listener", exchange, auto_delete=True)
        found: list[Any] = []
        made = connection.aconsumer([bound], no_ack=True)
        async with made as consumer:
            consumer.register_callback(lambda body, message: found.append(body))
            wait = asyncio.ensure_future(connection.adrain_events(timeout=20))

            await until(lambda: intake_of(consumer.channel) is not None)
            while not wait.done():
                await place.stock(publish)
            await wait
    assert found
    assert set(found) == {"x"}


async def test_simple_queues_share_a_connection(place: Place) -> None:
    async with (
        place.connect() as connection,
        connection.asimple_queue("a") as first,
        connection.asimple_queue("b") as second,
    ):
        waits = [asyncio.ensure_future(q.aget(timeout=20)) for q in (first, second)]
        await second.aput(2)
        await first.aput(1)
        messages = await asyncio.gather(*waits)
        assert [message.payload for message in messages] == [1, 2]
        for message in messages:
            await message.aack()
    assert await place.unacked() == {}


async def test_a_covered_drain_sees_every_call(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.put("q", *range(10))
    async with consuming(place, "q", no_ack=True) as consumer:
        await read_ahead(consumer)
        calls: list[Any] = []
        original = kombu.Connection.drain_events

        def traced(self: Any, **kwargs: Any) -> Any:
            calls.append(kwargs)
            return original(self, **kwargs)

        monkeypatch.setattr(kombu.Connection, "drain_events", traced)
        await consumer.drain(3)
        assert calls == [{"timeout": 20}] * 3


async def test_a_callback_may_wait_and_others_go_on(place: Place) -> None:
    await place.put("q", *range(10))
    async with consuming(place, "q") as consumer:
        await read_ahead(consumer)
        held = asyncio.Event()

        def first_waits(body: Any, message: Any) -> None:
            if body == 2:
                await_(held.wait())
            message.ack()

        consumer.consumer.register_callback(first_waits)
        waits = [asyncio.ensure_future(consumer.drain()) for _ in range(4)]
        await until(lambda: len(consumer.bodies) == 6)
        held.set()
        await asyncio.gather(*waits)
        assert consumer.bodies == list(range(6))
        # What was acked in a callback that has waited is acked, too.
        await consumer.consumer.acancel()
        assert len(await place.unacked()) == 2


async def test_others_have_their_turns_between_deliveries(place: Place) -> None:
    await place.put("q", *range(20))
    async with consuming(place, "q", no_ack=True) as consumer:
        turns: list[int] = []

        def works(body: Any, message: Any) -> None:
            end = time.perf_counter() + 0.003
            while time.perf_counter() < end:
                """Keep the loop busy."""

        async def others() -> None:
            while True:
                turns.append(len(consumer.bodies))
                await asyncio.sleep(0)

        consumer.consumer.register_callback(works)
        await read_ahead(consumer)
        intake = intake_of(consumer.channel)
        assert intake is not None
        count = len(intake.returns.waiting)
        assert count >= 10
        beside = asyncio.ensure_future(others())
        await consumer.drain(count)
        beside.cancel()
    # At least between every third delivery and the next one.
    assert len(set(turns)) >= count // 3
