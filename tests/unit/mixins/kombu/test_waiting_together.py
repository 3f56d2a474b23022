"""Calls that wait for events at the same time, while async callbacks run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import kombu
import pytest

from tests.unit.core.help import until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
Named = Callable[..., str]


def _has(found: list[Any], count: int) -> bool:
    return len(found) == count


@pytest.mark.parametrize("at_once", [True, False], ids=["together", "one-by-one"])
async def test_each_handled_message_ends_one_wait(
    url: str, named: Named, at_once: bool
) -> None:
    name = named()
    begun: list[Any] = []
    gates = {number: asyncio.Event() for number in range(4)}

    async def work(body: Any, message: Any) -> None:
        begun.append(body)
        await gates[body].wait()
        await message.aack()

    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[work], prefetch_count=4)
        async with consumer:
            # Nobody has met an async callback yet.
            waits = [
                asyncio.ensure_future(one.adrain_events(timeout=15)) for _ in range(4)
            ]
            await asyncio.sleep(0.05)
            producer = other.Producer()
            for number in range(4):
                await producer.apublish(number, routing_key=name)
                if not at_once:
                    await until(partial(_has, begun, number + 1))
            await until(lambda: len(begun) == 4)
            for number in (3, 1, 0, 2):
                gates[number].set()
            assert await asyncio.gather(*waits, return_exceptions=True) == [None] * 4


async def test_one_handled_message_ends_no_more_than_one_wait(
    url: str, named: Named
) -> None:
    name = named()
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work(body: Any, message: Any) -> None:
        begun.set()
        await gate.wait()
        await message.aack()

    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[work], prefetch_count=4)
        async with consumer:
            waits = [
                asyncio.ensure_future(one.adrain_events(timeout=15)) for _ in range(2)
            ]
            await asyncio.sleep(0.05)
            await other.Producer().apublish(1, routing_key=name)
            await asyncio.wait_for(begun.wait(), 15)
            # One message, one event: the other one goes on waiting.
            ended = asyncio.ensure_future(
                asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            )
            gate.set()
            done, left = await ended
            assert [wait.exception() for wait in done] == [None]
            for wait in left:
                wait.cancel()
            await asyncio.wait(left)
