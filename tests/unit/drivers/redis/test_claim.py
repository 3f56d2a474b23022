"""Claiming and settling: atomic, and in the form that Kombu itself leaves behind."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from kombu.transport import redis as transport

from celery_async_bridge.drivers.redis.claim import CLAIM, Claimed, claimed
from celery_async_bridge.drivers.redis.holding import holding_of
from celery_async_bridge.drivers.redis.ledger import Ledger, ledger_of
from celery_async_bridge.drivers.redis.settling import lists_of
from tests.unit.drivers.redis.consuming import Place, channel_of, eventually, queue


@pytest.fixture
def place(redis_url: str, unique: str) -> Place:
    return Place(redis_url, unique)


def ledger(channel: Any) -> Ledger:
    found = ledger_of(channel)
    assert found is not None
    return found


async def claim(
    channel: Any, *queues: str, count: int = 10, score: float = 0, turn: str = "1"
) -> list[Claimed]:
    """Claim from queues, as they stand in line."""
    here = ledger(channel)
    keys = [*here.keys, *lists_of(channel, list(queues))]
    args = [repr(score or time.time()), count, len(queues), "1", turn]
    return claimed(await here.run(CLAIM, keys, args))


async def test_it_is_noted_as_kombu_would_note_it(place: Place) -> None:
    await place.put("q", {"n": 1}, headers={"long": 12345678901234567890, "ü": "/é"})
    async with channel_of(place.connect()) as channel:
        message = await queue("q", channel=channel).aget()
        ours = await place.unacked()
        await message.aack()
    await place.put("q", {"n": 1}, headers={"long": 12345678901234567890, "ü": "/é"})

    def note(connection: Any) -> Any:
        queue("q", channel=connection.default_channel).get()
        return place.server.hgetall(f"{place.prefix}unacked")

    theirs = await place.stock(note)
    (our_entry,), (their_entry,) = ours.values(), theirs.values()
    expected = json.loads(their_entry)
    expected[0]["properties"]["delivery_tag"] = message.delivery_tag
    assert our_entry == expected


async def test_the_payload_is_spliced_in_as_it_is(place: Place) -> None:
    await place.put("q", 1)
    raw = (await place.ask("LRANGE", "q", 0, 0))[0].replace(
        b'"headers": {', b'"headers":{ '
    )
    await place.ask("LSET", "q", 0, raw)
    async with channel_of(place.connect()) as channel:
        (message,) = await claim(channel, "q")
        assert message.raw == raw
        entry = await place.ask("HGET", "unacked", message.tag)
        assert entry == b"[" + raw + b', "", "q"]'


async def test_stock_consumers_restore_what_was_claimed(place: Place) -> None:
    await place.put("q", *range(5))
    async with channel_of(place.connect()) as channel:
        assert len(await claim(channel, "q", count=3)) == 3
        await place.age()
        found = await place.take("q", 5)
    assert sorted(body for body, _ in found) == [0, 1, 2, 3, 4]
    assert {body for body, redelivered in found if redelivered} == {0, 1, 2}
    assert await place.unacked() == {}


async def test_it_is_got_from_kombus_whose_queues_never_expire(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As before Kombu 5.7.
    await place.put("q", 1)
    async with channel_of(place.connect()) as channel:
        name = "_maybe_update_queues_expire"
        with monkeypatch.context() as patch:
            patch.delattr(transport.Channel, name, raising=False)
            message = await queue("q", channel=channel).aget()
        assert message.payload == 1
        await message.aack()
    assert await place.unacked() == {}


async def test_what_nobody_can_read_is_kept_apart(place: Place) -> None:
    await place.ask("LPUSH", "q", b"no json")
    await place.ask("LPUSH", "q", b'{"properties": {}}')
    await place.put("q", "fine")
    async with channel_of(place.connect()) as channel:
        bound = queue("q", channel=channel)
        for _ in range(2):
            with pytest.raises((ValueError, KeyError)):
                await bound.aget()
        message = await bound.aget()
        assert message.payload == "fine"
        await message.aack()
    assert await place.ask("LLEN", "q.undecodable") == 2
    assert await place.unacked() == {}


async def test_what_lua_cannot_read_but_python_can_is_delivered(place: Place) -> None:
    # A lone surrogate: a string that Python's JSON reads and Lua's does not.
    await place.put("q", "fine", headers={"half": "\ud800"})
    async with channel_of(place.connect()) as channel:
        message = await queue("q", channel=channel).aget()
        assert message.payload == "fine"
        assert list(await place.unacked()) == [message.delivery_tag]
        await message.aack()
    assert await place.unacked() == {}
    assert await place.ask("LLEN", "q.undecodable") == 0


async def test_acks_of_one_turn_of_the_loop_share_a_transaction(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.put("q", *range(50))
    async with channel_of(place.connect()) as channel:
        bound = queue("q", channel=channel)
        messages = [await bound.aget() for _ in range(50)]
        assert len(await place.unacked()) == 50
        mux = ledger(channel).mux
        sizes: list[int] = []

        def watch(name: str) -> None:
            tell = getattr(mux, name)

            def counted(data: bytes, count: int, told: Any) -> None:
                sizes.append(data.count(b"\r\n$36\r\n"))
                tell(data, count, told)

            monkeypatch.setattr(mux, name, counted)

        watch("tell")
        watch("tell_now")  # the first one, with which nothing is under way
        half = [
            *(message.aack() for message in messages[:25]),
            *(message.areject() for message in messages[25:]),
        ]
        await asyncio.gather(*half)
        assert await place.unacked() == {}
        # Each tag is in two commands; so many calls start in one turn of the loop.
        assert sum(sizes) == 100
        assert len(sizes) <= 10


async def test_a_requeued_message_is_what_kombu_makes_of_it(place: Place) -> None:
    await place.put("q", 1, priority=3)

    def requeue(connection: Any) -> None:
        queue("q", channel=connection.default_channel).get().requeue()

    await place.stock(requeue)
    (theirs,) = await place.left("q\x06\x163")
    async with channel_of(place.connect()) as channel:
        await (await queue("q", channel=channel).aget()).arequeue()
    assert await place.left("q\x06\x163") == [theirs]
    assert theirs["headers"]["redelivered"]
    assert await place.unacked() == {}


async def test_many_restore_at_once_and_each_message_once(place: Place) -> None:
    await place.put("q", *range(30))
    async with channel_of(place.connect()) as channel:
        bound = queue("q", channel=channel)
        messages = [await bound.aget() for _ in range(30)]
        tags = [message.delivery_tag for message in messages]
        await asyncio.gather(
            *(channel.qos.areject(tag, requeue=True) for tag in (*tags, *tags))
        )
    assert sorted(json.dumps(one) for one in await place.left("q")) == sorted(
        {json.dumps(one) for one in await place.left("q")}
    )
    assert await place.ask("LLEN", "q") == 30
    assert await place.unacked() == {}


async def test_an_old_ack_does_not_take_away_what_another_holds(place: Place) -> None:
    await place.put("q", 1)
    async with channel_of(place.connect()) as channel:
        message = await queue("q", channel=channel).aget()
        tag = message.delivery_tag
        # Its time is over, and a peer has restored it and holds it now.
        holding_of(channel).held[tag] -= 7200
        now = time.time()
        await place.ask("ZADD", "unacked_index", now, tag)
        await message.aack()
        assert list(await place.unacked()) == [tag]
        # Without a peer the same ack does what it says.
        (other,) = (await place.unacked()).keys()
        await place.ask("ZADD", "unacked_index", repr(now - 7200), tag)
        holding_of(channel).held[tag] = now - 7200
        await channel.qos.aack(other)
        assert await place.unacked() == {}


async def test_a_message_that_comes_for_a_cancelled_call_goes_back(
    place: Place,
) -> None:
    async with channel_of(place.connect()) as channel:
        bound = queue("q", channel=channel)
        await place.put("q", *range(20))
        # At whatever point the call is.
        for turns in range(12):
            call = asyncio.ensure_future(bound.aget())
            for _ in range(turns):
                await asyncio.sleep(0)
            if not call.cancel():
                await (await call).arequeue()
        await eventually(lambda: place.ask("LLEN", "q"), 20)
        assert await place.unacked() == {}
        message = await bound.aget()
        assert message.payload in range(20)
        await message.aack()


async def test_without_acks_nothing_is_left_noted(place: Place) -> None:
    await place.put("q", 1)
    async with channel_of(place.connect()) as channel:
        message = await queue("q", channel=channel).aget(no_ack=True)
        assert message.payload == 1
        assert await place.unacked() == {}
        assert await queue("q", channel=channel).aget() is None


async def test_without_emulated_acks_upstreams_code_does_it(
    redis_url: str, unique: str
) -> None:
    place = Place(redis_url, unique, ack_emulation=False)
    await place.put("q", 1)
    async with channel_of(place.connect()) as channel:
        message = await queue("q", channel=channel).aget()
        assert message.payload == 1
        assert await place.unacked() == {}
        await message.aack()
