"""Subscriptions: what is asked of the server, what is heard, what survives a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from celery_async_bridge.drivers.redis import ear as module
from celery_async_bridge.drivers.redis import forked
from celery_async_bridge.drivers.redis.ear import CHUNK, Ear, ear_for, ears
from tests.redis_servers import eventually
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    FakeServer,
    Peer,
    Pools,
    Watcher,
    address,
    bulk,
    fake_server,
)


@asynccontextmanager
async def an_ear(pool: Any) -> AsyncIterator[Ear]:
    """Listen somewhere, and end it."""
    ear = Ear(address(pool))
    try:
        yield ear
    finally:
        await ear.aclose()


def acks(peer: Peer, command: list[bytes]) -> bytes:
    """Answer as a server that speaks RESP2 does."""
    name, channels = command[0].lower(), command[1:]
    if name == b"ping":
        return b"*2\r\n" + bulk(b"pong") + bulk(b"")
    return b"".join(b"*3\r\n" + bulk(name) + bulk(c) + b":1\r\n" for c in channels)


def fake_pool(pools: Pools, fake: FakeServer, **kwargs: Any) -> Any:
    """Points at the fake server."""
    return pools.make(url=fake.url, protocol=2, **kwargs)


def ignore(channel: bytes, payload: bytes) -> None:
    """Hear without a word."""


class Heard:
    """What was heard."""

    def __init__(self) -> None:
        self.all: list[tuple[bytes, bytes]] = []

    def __len__(self) -> int:
        return len(self.all)

    def __call__(self, channel: bytes, payload: bytes) -> None:
        self.all.append((channel, payload))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_is_published_is_heard_by_all_who_listen(
    protocol: int, pools: Pools, watcher: Watcher, unique: str
) -> None:
    first, second, channel = Heard(), Heard(), unique.encode()
    async with an_ear(pools.make(protocol=protocol)) as ear:
        ear.listen(channel, first)
        ear.listen(channel, second)
        assert await ear.subscribed()
        await watcher.ask("PUBLISH", channel, "1")
        await until(lambda: first.all == second.all == [(channel, b"1")])
        ear.ping()
        ear.unlisten(channel, first)
        ear.unlisten(channel, first)
        assert await ear.subscribed()
        await watcher.ask("PUBLISH", channel, "2")
        await until(lambda: len(second) == 2)
        assert len(first) == 1
        ear.unlisten(channel, second)
        await settles(watcher, channel, 0)
        # It stays for the next who comes.
        assert await watcher.count() == 1
        assert ear.opened == 1
    await watcher.settles(0)


async def settles(watcher: Watcher, channel: bytes, count: int) -> None:
    """Wait until so many are subscribed."""
    for _ in range(500):
        if (await watcher.ask("PUBSUB", "NUMSUB", channel))[1] == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("subscriptions do not come to that number")


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
async def test_one_turn_of_the_loop_is_one_command(count: int, pools: Pools) -> None:
    async with fake_server(acks) as fake, an_ear(fake_pool(pools, fake)) as ear:
        channels = [b"c%d" % n for n in range(count)]
        for channel in channels:
            ear.listen(channel, ignore)
        assert await ear.subscribed()
        commands = list(fake.peer.commands)
        assert {command[0] for command in commands} == {b"SUBSCRIBE"}
        assert len(commands) == -(-count // CHUNK)
        assert [name for command in commands for name in command[1:]] == channels
        for channel in channels:
            ear.unlisten(channel, ignore)
        await until(lambda: len(fake.peer.commands) == 2 * len(commands))
        left = fake.peer.commands[len(commands) :]
        assert {command[0] for command in left} == {b"UNSUBSCRIBE"}
        assert [name for command in left for name in command[1:]] == channels


async def test_what_is_undone_in_the_same_turn_is_not_mentioned(pools: Pools) -> None:
    async with fake_server(acks) as fake, an_ear(fake_pool(pools, fake)) as ear:
        ear.listen(b"stays", ignore)
        assert await ear.subscribed()
        ear.unlisten(b"stays", ignore)
        ear.listen(b"stays", ignore)
        ear.listen(b"passes", ignore)
        ear.unlisten(b"passes", ignore)
        assert await ear.subscribed()
        ear.listen(b"last", ignore)
        assert await ear.subscribed()
        names = [b" ".join(command) for command in fake.peer.commands]
        assert names == [b"SUBSCRIBE stays", b"SUBSCRIBE last"]


async def test_left_and_joined_again_waits_for_its_own_ack(pools: Pools) -> None:
    held: list[bytes] = []

    def answer(peer: Peer, command: list[bytes]) -> bytes | None:
        if b"slow" in command and command[0] == b"SUBSCRIBE":
            held.append(acks(peer, command))
            return None
        return acks(peer, command)

    async with fake_server(answer) as fake, an_ear(fake_pool(pools, fake)) as ear:
        ear.listen(b"quick", ignore)
        assert await ear.subscribed()
        for _ in range(2):
            ear.listen(b"slow", ignore)
            waiting = asyncio.ensure_future(ear.subscribed())
            also = asyncio.ensure_future(ear.subscribed())
            await until(lambda: held)
            await asyncio.sleep(0.02)
            assert not waiting.done()
            late = asyncio.ensure_future(ear.subscribed())
            await asyncio.sleep(0)
            fake.peer.say(held.pop())
            assert all(await asyncio.gather(waiting, also, late))
            ear.unlisten(b"slow", ignore)
            assert await ear.subscribed()


async def test_a_refusal_is_told_until_the_next_connection(pools: Pools) -> None:
    polite = False

    def answer(peer: Peer, command: list[bytes]) -> bytes:
        refused = command[0] == b"SUBSCRIBE" and not polite
        return b"-NOPERM no\r\n" if refused else acks(peer, command)

    async with fake_server(answer) as fake, an_ear(fake_pool(pools, fake)) as ear:
        ear.listen(b"c", ignore)
        assert not await ear.subscribed()
        assert not await ear.subscribed()
        assert ear.up
        polite = True
        fake.peer.reset()
        await until(lambda: ear.opened == 2)
        assert await ear.subscribed()


async def test_after_a_loss_all_is_subscribed_again_and_told(
    pools: Pools, watcher: Watcher, unique: str
) -> None:
    heard, back = Heard(), []
    channels = [f"{unique}{n}".encode() for n in range(3)]
    async with an_ear(pools.make()) as ear:
        ear.on_back.add(lambda: back.append(1))
        for channel in channels:
            ear.listen(channel, heard)
        assert await ear.subscribed()
        assert not back
        for times in (1, 2):
            ear.unlisten(channels[0], heard)
            await watcher.kill()
            # Left and joined while there is no connection.
            ear.unlisten(channels[1], heard)
            ear.listen(channels[0], heard)
            await until(lambda times=times: len(back) == times)  # type: ignore[misc]
            await settles(watcher, channels[1], 0)
            for channel in channels:
                await watcher.ask("PUBLISH", channel, str(times))
            ear.listen(channels[1], heard)
            assert await ear.subscribed()
        await until(lambda: len(heard) == 4)
        assert await watcher.count() == 1


async def test_nobody_listens_nobody_connects_again(
    pools: Pools, watcher: Watcher
) -> None:
    async with an_ear(pools.make()) as ear:
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        ear.unlisten(b"c", ignore)
        assert await ear.subscribed()
        await watcher.kill()
        await until(lambda: not ear.up)
        await asyncio.sleep(0.1)
        assert await watcher.count() == 0
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        assert ear.opened == 2


async def test_a_server_that_does_not_say_hello_is_tried_again(pools: Pools) -> None:
    async with fake_server(acks) as fake:
        fake.polite = False
        pool = fake_pool(pools, fake, socket_connect_timeout=0.1)
        async with an_ear(pool) as ear:
            ear.listen(b"c", ignore)
            assert not await ear.subscribed()
            # Known to be down: nobody waits for the next attempt.
            assert not await ear.subscribed()
            fake.polite = True
            await until(lambda: ear.up)
            assert await ear.subscribed()


async def test_an_error_in_one_callback_costs_the_others_nothing(
    pools: Pools, watcher: Watcher, unique: str
) -> None:
    heard, channel = Heard(), unique.encode()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, one: told.append(one))

    def fails(channel: bytes, payload: bytes) -> None:
        raise LookupError(payload)

    async with an_ear(pools.make()) as ear:
        ear.listen(channel, fails)
        ear.listen(channel, heard)
        assert await ear.subscribed()
        for payload in ("1", "2"):
            await watcher.ask("PUBLISH", channel, payload)
        await until(lambda: len(heard) == 2)
        assert ear.opened == 1
    assert [type(one["exception"]) for one in told] == [LookupError] * 2


async def test_what_is_not_the_protocol_ends_the_connection(pools: Pools) -> None:
    async with fake_server(acks) as fake, an_ear(fake_pool(pools, fake)) as ear:
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        fake.peer.say(b"HTTP/1.1 400\r\n\r\n")
        await until(lambda: ear.opened == 2)
        assert await ear.subscribed()


async def test_silence_ends_the_connection_but_not_at_once(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENCE", 0.2)
    mute = False

    def answer(peer: Peer, command: list[bytes]) -> bytes | None:
        return None if mute else acks(peer, command)

    async with fake_server(answer) as fake, an_ear(fake_pool(pools, fake)) as ear:
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        ear.ping()
        await until(lambda: ear._asked is None)
        mute = True
        for _ in range(5):  # several feeds, at the same time
            ear.ping()
        await asyncio.sleep(0)
        await until(lambda: fake.peer.commands.count([b"PING"]) == 2)
        assert ear.up
        mute = False
        await asyncio.sleep(0.25)
        ear.ping()
        await until(lambda: ear.opened == 2)


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_closing_while_it_connects(
    turns: int, pools: Pools, watcher: Watcher
) -> None:
    async with an_ear(pools.make()) as ear:
        ear.listen(b"c", ignore)
        waiting = asyncio.ensure_future(ear.subscribed())
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        await ear.aclose()
        await asyncio.wait({waiting}, timeout=0.1)
        waiting.cancel()
        assert not ear.up
    await watcher.settles(0)


async def test_callbacks_do_not_run_in_the_context_of_who_came_first(
    pools: Pools, watcher: Watcher, unique: str
) -> None:
    mine: ContextVar[str] = ContextVar("mine", default="nobody's")
    mine.set("the first one's")
    found: list[str] = []

    def hears(channel: bytes, payload: bytes) -> None:
        found.append(mine.get())

    async with an_ear(pools.make()) as ear:
        ear.listen(unique.encode(), hears)
        assert await ear.subscribed()
        await watcher.ask("PUBLISH", unique, "1")
        await until(lambda: found)
    assert found == ["nobody's"]


async def test_children_let_go_of_it(pools: Pools) -> None:
    async with an_ear(pools.make()) as ear:
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        assert ear in forked._connected


def test_each_loop_has_one_and_ends_it(pools: Pools, watcher: Watcher) -> None:
    seen: list[Ear] = []

    async def main() -> None:
        # As many addresses, and the same server.
        found = {ear_for(address(pools.make())) for _ in range(3)}
        (ear,) = found
        ear.listen(b"c", ignore)
        assert await ear.subscribed()
        assert ears() == [ear]
        assert ear_for(address(pools.make(url=pools.other_url))) is not ear
        seen.append(ear)

    for _ in range(3):
        asyncio.run(main())
        eventually(lambda: not watcher.now(), 5, what="nobody connected")
        assert ears() == []
    assert len(set(map(id, seen))) == 3


async def test_an_attempt_that_is_cancelled_before_it_begins_is_made_again(
    pools: Pools,
) -> None:
    async with an_ear(pools.make()) as ear:
        ear.listen(b"some", ignore)
        waiting = asyncio.ensure_future(ear.subscribed())
        mine = {asyncio.current_task(), waiting}
        for _ in range(10):  # turns of the loop, in one of which it begins
            attempts = asyncio.all_tasks() - mine
            if attempts:
                break
            await asyncio.sleep(0)
        for task in attempts:
            task.cancel()
        await asyncio.wait(attempts)
        ear.listen(b"other", ignore)
        assert await asyncio.wait_for(waiting, 30)
        assert ear.opened == 1
