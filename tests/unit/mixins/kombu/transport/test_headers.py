"""Exchanges of type `headers`, on brokers that have and that lack them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
import pytest
from kombu.exceptions import ChannelError

from celery_async_bridge.mixins.kombu.transport.virtual._headers import matches

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Exchange: Any = kombu.Exchange
Queue: Any = kombu.Queue
Named = Callable[..., str]


@pytest.mark.parametrize(
    ("wanted", "headers", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "all", "a": 1}, {"a": 2}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1}, {}, False),
        ({"x-match": "any"}, {"a": 1}, False),
        ({}, {"a": 1}, True),
        ({"a": None}, {"a": 5}, True),
        ({"a": None}, {}, False),
    ],
)
def test_matches(wanted: Any, headers: Any, expected: bool) -> None:
    assert matches(wanted, headers) is expected


async def test_it_routes_by_headers(url: str, named: Named) -> None:
    exchange = Exchange(named("x"), "headers")
    pdf = Queue(
        named("pdf"), exchange, binding_arguments={"x-match": "all", "f": "pdf", "n": 1}
    )
    some = Queue(
        named("some"),
        exchange,
        binding_arguments={"x-match": "any", "f": "pdf", "n": 2},
    )
    async with Connection(url) as one:
        producer = one.Producer(exchange=exchange)
        for number, headers in enumerate(
            ({"f": "pdf", "n": 1}, {"f": "log", "n": 2}, {"f": "log"}, {})
        ):
            await producer.apublish(number, headers=headers, declare=[pdf, some])
        for queue, expected in ((pdf, [0]), (some, [0, 1])):
            async with one.SimpleQueue(queue) as simple:
                # What goes back finds its way.
                await (await simple.aget(timeout=30)).arequeue()
                found: list[int] = []
                while len(found) < len(expected):
                    message = await simple.aget(timeout=30)
                    await message.aack()
                    found.append(message.payload)
                assert sorted(found) == expected
                with pytest.raises(simple.Empty):
                    await simple.aget_nowait()


@pytest.mark.parametrize("broker_url", ["memory", "redis"], indirect=True)
async def test_stock_peers(broker_url: str, unique: str) -> None:
    exchange = Exchange(unique, "headers", durable=False)
    queue = Queue(unique, exchange, binding_arguments={"a": 1}, durable=False)
    async with Connection(broker_url) as one:
        await one.Producer().apublish(
            "x", exchange=exchange, headers={"a": 1}, declare=[queue]
        )

        def peer() -> Any:
            with Connection(broker_url) as other:
                simple = other.SimpleQueue(Queue(unique, durable=False))
                simple.get(timeout=30).requeue()
                message = simple.get(timeout=30)
                message.ack()
                simple.close()
                producer = other.Producer()
                with pytest.raises(KeyError, match="headers"):
                    producer.publish(
                        "y", exchange=exchange, headers={"a": 1}, declare=[queue]
                    )
                return message.payload

        assert await asyncio.to_thread(peer) == "x"
        assert await queue(one).aget() is None
        with pytest.raises(ChannelError, match="x-match"):
            await queue(one).abind_to(exchange, "k", {"x-match": "some"})
        with suppress(KeyError):
            await queue(one).adelete()
