"""What is read on the subscription's own socket."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from celery_async_bridge.drivers.redis.ear import Ear
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import Peer, Pools, Watcher, address, fake_server

__all__ = ()


def ignore(channel: bytes, payload: bytes) -> None:
    """Hear without a word."""


async def listening(ear: Ear, channel: bytes = b"some") -> None:
    """Listen, and have the ack."""
    ear.listen(channel, ignore)
    assert await ear.subscribed()


async def read(ear: Ear, *keys: bytes) -> Any:
    """Read keys; None if that cannot be."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    if not ear.look(list(keys), future.set_result):
        return None
    return await asyncio.wait_for(future, 30)


async def test_a_look_is_behind_the_subscription(
    pools: Pools, watcher: Watcher, unique: str
) -> None:
    ear = Ear(address(pools.make(protocol=3)))
    key, other = unique.encode(), f"{unique}2".encode()
    heard: list[bytes] = []
    try:
        await listening(ear)
        await watcher.ask("SET", key, "1", "EX", 60)
        ear.listen(key, lambda _, payload: heard.append(payload))
        assert await read(ear, key, other) == [b"1", None]
        # It was subscribed before the look: whatever follows is heard.
        assert (await watcher.ask("PUBLISH", key, "2")) == 1
        await until(lambda: heard == [b"2"])
        ear.ping()
        assert await read(ear, key) == [b"1"]
        assert ear.opened == 1
    finally:
        await ear.aclose()


async def test_before_anything_is_pushed_and_with_resp2_it_cannot_be(
    pools: Pools,
) -> None:
    for protocol in (2, 3):
        ear = Ear(address(pools.make(protocol=protocol)))
        try:
            assert not ear.look([b"key"], ignore)  # type: ignore[arg-type]
            await listening(ear)
            assert (await read(ear, b"key")) == (None if protocol == 2 else [None])
        finally:
            await ear.aclose()


def pushes(peer: Peer, command: list[bytes]) -> bytes | None:
    """Answer subscriptions as RESP3 does, and nothing else."""
    name = command[0].lower()
    if not name.endswith(b"subscribe"):
        return None
    return b"".join(
        b">3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n:1\r\n" % (len(name), name, len(c), c)
        for c in command[1:]
    )


@pytest.mark.parametrize("end", ["loss", "close", "error"])
async def test_without_a_reply_there_are_no_values(end: str, pools: Pools) -> None:
    async with fake_server(pushes) as fake:
        ear = Ear(address(pools.make(url=fake.url, protocol=2)))
        await listening(ear)
        reading = asyncio.ensure_future(read(ear, b"key"))
        await until(lambda: fake.peer.commands[-1] == [b"MGET", b"key"])
        assert not reading.done()
        if end == "error":
            fake.peer.say(b"-ERR no\r\n")
        elif end == "loss":
            fake.peer.reset()
        else:
            await ear.aclose()
        assert await reading is None
        assert ear.hears
        await ear.aclose()


async def test_a_look_that_was_not_written_is_lost_with_the_connection(
    pools: Pools,
) -> None:
    async with fake_server(pushes) as fake:
        ear = Ear(address(pools.make(url=fake.url, protocol=2)))
        await listening(ear)
        answers: list[Any] = []
        ear.abort()
        assert ear.look([b"key"], answers.append)
        await until(lambda: answers == [None])
        assert [b"MGET", b"key"] not in fake.peer.commands
        await ear.aclose()


async def test_what_is_out_of_step_costs_the_connection(pools: Pools) -> None:
    async with fake_server(pushes) as fake:
        ear = Ear(address(pools.make(url=fake.url, protocol=2)))
        await listening(ear)
        ear.listen(b"held", ignore)
        fake.answer = lambda peer, command: None
        held = asyncio.ensure_future(ear.subscribed())
        await until(lambda: fake.peer.commands[-1] == [b"SUBSCRIBE", b"held"])
        fake.answer = pushes
        fake.peer.say(b"*1\r\n$5\r\nwrong\r\n")
        assert await held is False
        await until(lambda: ear.opened == 2)
        assert await ear.subscribed()
        await ear.aclose()


async def test_one_packet_for_who_leaves_joins_and_looks(pools: Pools) -> None:
    sizes: list[int] = []
    async with fake_server(pushes) as fake:
        ear = Ear(address(pools.make(url=fake.url, protocol=2)))
        await listening(ear)
        transport: Any = ear._transport

        def counted(data: bytes) -> None:
            sizes.append(len(data))
            transport.write(data)

        # Around it: uvloop's attributes cannot be set.
        around: Any = SimpleNamespace(write=counted, abort=transport.abort)
        ear._transport = around
        asked: list[Any] = []

        def first() -> None:
            assert ear.look([b"new"], asked.append)

        ear.unlisten(b"some", ignore)
        ear.listen(b"new", ignore)
        ear.before_writing(first)
        ear.before_writing(first)
        await until(lambda: len(fake.peer.commands) == 4)
        names = [b" ".join(command) for command in fake.peer.commands[1:]]
        assert names == [b"UNSUBSCRIBE some", b"SUBSCRIBE new", b"MGET new"]
        assert len(sizes) == 1
        ear._transport = transport
        await ear.aclose()
        assert asked == [None]
