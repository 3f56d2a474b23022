"""Wake-ups: who is rung, once, for what, and after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from celery_async_bridge.drivers.redis.bell import Bell, bell_for, bells
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    Peer,
    Pools,
    Watcher,
    address,
    fake_server,
)


@asynccontextmanager
async def a_bell(pool: Any) -> AsyncIterator[Bell]:
    """A bell, and its end."""
    bell = Bell(address(pool))
    try:
        yield bell
    finally:
        await bell.aclose()


async def listening(bell: Bell, count: int) -> None:
    """The server knows of all that is watched."""
    await until(lambda: bell.up and len(bell) == count and not bell._asked)


async def test_it_rings_when_a_message_comes(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    rings: list[str] = []
    async with a_bell(pools.make()) as bell:
        keys = [f"{unique}.{n}" for n in range(4)]
        bell.watch(keys, lambda: rings.append("rung"))
        await listening(bell, 1)
        assert rings == []
        await watcher.ask("LPUSH", keys[2], "x")
        await until(lambda: rings)
        # Once, and nobody waits any more.
        await watcher.ask("LPUSH", keys[2], "x", "y")
        await watcher.ask("LPUSH", keys[1], "x")
        assert len(bell) == 0
        assert rings == ["rung"]


async def test_it_rings_for_what_is_there_already(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    await watcher.ask("LPUSH", unique, "x")
    async with a_bell(pools.make()) as bell:
        rung = asyncio.Event()
        bell.watch([unique], rung.set)
        await asyncio.wait_for(rung.wait(), 20)


async def test_nothing_is_taken_out(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    async with a_bell(pools.make()) as bell:
        rung = asyncio.Event()
        bell.watch([unique], rung.set)
        await listening(bell, 1)
        await watcher.ask("LPUSH", unique, "x")
        await asyncio.wait_for(rung.wait(), 20)
    assert await watcher.ask("LLEN", unique) == 1


async def test_one_message_rings_the_one_who_waits_longest(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    rings: list[int] = []

    async def take() -> None:
        await watcher.ask("RPOP", unique)

    tasks: list[Any] = []

    async def rang(count: int) -> None:
        await until(lambda: len(rings) >= count)

    def rung(number: int) -> None:
        rings.append(number)
        tasks.append(asyncio.ensure_future(take()))

    async with a_bell(pools.make()) as bell:
        for number in range(5):
            bell.watch([unique], partial(rung, number))
        await listening(bell, 5)
        for count in range(1, 6):
            await watcher.ask("LPUSH", unique, "x")
            await rang(count)
            await asyncio.gather(*tasks)
    assert rings[0] == 0
    assert sorted(rings) == [0, 1, 2, 3, 4]


async def test_what_is_not_taken_is_for_the_next(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    rings: list[int] = []
    async with a_bell(pools.make()) as bell:
        for number in range(3):
            bell.watch([unique], partial(rings.append, number))
        await listening(bell, 3)
        await watcher.ask("LPUSH", unique, "x")
        await until(lambda: len(rings) == 3)
    assert rings == [0, 1, 2]


async def test_who_has_left_is_not_rung(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    rings: list[int] = []
    async with a_bell(pools.make()) as bell:
        first = bell.watch([unique], lambda: rings.append(1))
        bell.watch([unique], lambda: rings.append(2))
        await listening(bell, 2)
        assert bell.unwatch(first)
        assert not bell.unwatch(first)
        await watcher.ask("LPUSH", unique, "x")
        await until(lambda: rings)
        assert rings == [2]


async def test_after_a_loss_everybody_looks_and_watches_again(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    rings: list[int] = []
    heard: list[tuple[bytes, ...]] = []
    async with a_bell(pools.make()) as bell:
        for number in range(3):
            bell.watch([unique], partial(rings.append, number))
        bell.listen(f"{unique}*", lambda *push: heard.append(push))
        await listening(bell, 3)
        await watcher.kill()
        await until(lambda: len(rings) == 3)
        bell.watch([unique], lambda: rings.append(9))
        await listening(bell, 1)
        assert bell.opened == 2
        await watcher.ask("LPUSH", unique, "x")
        await until(lambda: 9 in rings)
        await watcher.ask("PUBLISH", f"{unique}.a", "b")
        await until(lambda: heard)
    name = unique.encode()
    assert heard == [(name + b"*", name + b".a", b"b")]


async def test_patterns_are_left_with_the_last_who_listens(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    def hears(*push: bytes) -> None:
        """Hear without a word."""

    def also(*push: bytes) -> None:
        """Hear without a word."""

    async def patterns() -> int:
        (found,) = await watcher.connections()
        return int(found["psub"])

    async with a_bell(pools.make()) as bell:
        bell.listen(f"{unique}*", hears)
        bell.listen(f"{unique}*", also)
        bell.watch([unique], lambda: None)
        await listening(bell, 1)
        assert await patterns() == 1
        bell.unlisten(f"{unique}*", hears)
        bell.unlisten(f"{unique}*", hears)
        assert await patterns() == 1
        bell.unlisten(f"{unique}*", also)
        end = asyncio.get_running_loop().time() + 20
        while await patterns():
            assert asyncio.get_running_loop().time() < end


async def test_a_server_that_cannot_tell_is_asked_now_and_then(pools: Pools) -> None:
    def old(peer: Peer, command: list[bytes]) -> bytes:
        if command[0] == b"HELLO":
            return b"-ERR unknown command\r\n"
        return b":0\r\n"

    async with (
        fake_server(old) as fake,
        a_bell(pools.make(url=fake.url, protocol=2)) as bell,
    ):
        for _ in range(2):
            rung = asyncio.Event()
            bell.watch(["q"], rung.set)
            await asyncio.wait_for(rung.wait(), 20)
        assert bell.deaf


async def test_one_bell_for_a_loop_and_a_server(pools: Pools, unique: str) -> None:
    bell = bell_for(address(pools.make()))
    assert bell_for(address(pools.make())) is bell
    assert bell in bells()
    bell.watch([unique], lambda: None)
    await listening(bell, 1)
    assert len(bells()) == 1


async def test_it_stops_reading_for_who_has_too_much(
    pools: Pools, unique: str, watcher: Watcher
) -> None:
    heard: list[bytes] = []
    async with a_bell(pools.make()) as bell:
        bell.listen(f"{unique}*", lambda *push: heard.append(push[2]))
        bell.watch([unique], lambda: None)
        await listening(bell, 1)
        reader = object()
        bell.stop(reader)
        bell.stop(reader)
        await watcher.ask("PUBLISH", f"{unique}.a", "b")
        bell.go_on(object())
        assert heard == []
        bell.go_on(reader)
        await until(lambda: heard)
