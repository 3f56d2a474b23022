from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError

from celery_async_bridge.drivers.redis.link import AT_ONCE, FAIL_AT_ONCE, Batch, Link
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import FakeServer, fake_server, one


class Wired:
    """A link, what it reports, and the server at its other end."""

    def __init__(self, server: FakeServer, managed: bool) -> None:
        self.server = server
        self.lost: list[Link] = []
        self.replies = 0
        self.link = Link(self._count, self.lost.append, managed=managed)

    def _count(self) -> None:
        self.replies += 1

    def expect(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.link.waiting.append(future)
        return future

    def expect_batch(self, count: int) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.link.waiting.append(Batch(future, count))
        return future

    async def gone(self) -> None:
        await until(lambda: self.lost)
        await until(lambda: self.server.peer.closed)
        assert self.lost == [self.link]


@asynccontextmanager
async def wired(*, managed: bool = False, early: bytes = b"") -> AsyncIterator[Wired]:
    async with fake_server() as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            asyncio.Protocol, "127.0.0.1", server.port
        )
        await until(lambda: server.peers)
        found = Wired(server, managed)
        found.link.attach(transport, early)
        try:
            yield found
        finally:
            transport.abort()
            await asyncio.sleep(0)


async def test_replies_go_to_who_waits_longest() -> None:
    async with wired() as it:
        first, batch, last = it.expect(), it.expect_batch(2), it.expect()
        for byte in b"+a\r\n$3\r\nb\r\n\r\n-ERR c\r\n:4\r\n":
            it.server.peer.say(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await first == b"a"
        found = await batch
        assert found[0] == b"b\r\n"
        assert isinstance(found[1], ResponseError)
        assert await last == 4
        assert not it.link.waiting


async def test_what_came_before_the_link_counts() -> None:
    async with wired(early=b">2\r\n+hello\r\n+there\r\n+par") as it:
        future = it.expect()
        it.server.peer.say(b"tial\r\n")
        assert await future == b"partial"


async def test_an_error_is_its_callers_own() -> None:
    async with wired() as it:
        futures = [it.expect() for _ in range(3)]
        it.server.peer.say(b"+a\r\n-WRONGTYPE no\r\n+c\r\n")
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert found[0] == b"a"
        assert isinstance(found[1], ResponseError)
        assert found[2] == b"c"
        assert it.lost == []


async def test_what_the_server_pushes_is_nobodys_reply() -> None:
    async with wired() as it:
        first, second = it.expect(), it.expect()
        it.server.peer.say(
            b"+a\r\n>3\r\n+message\r\n$1\r\nx\r\n$1\r\ny\r\n+b\r\n>1\r\n+invalidate\r\n"
        )
        assert (await first, await second) == (b"a", b"b")
        assert it.lost == []


async def test_a_reply_that_nobody_wants_keeps_its_place() -> None:
    async with wired() as it:
        futures = [it.expect(), it.expect_batch(2), it.expect()]
        futures[0].cancel()
        futures[1].cancel()
        it.server.peer.say(b"+a\r\n+b\r\n+c\r\n+d\r\n")
        assert await futures[2] == b"d"


@pytest.mark.parametrize(
    "data", [b"+one\r\n+unasked\r\n", b"+one\r\n?what\r\n", b"+one\r\n\0\0\0\0\0\r\n"]
)
async def test_garbage_ends_the_connection(data: bytes) -> None:
    async with wired() as it:
        first = it.expect()
        asked = [it.expect()] if b"unasked" not in data else []
        it.server.peer.say(data)
        assert await first == b"one"
        for future in asked:
            with pytest.raises(ConnectionError) as caught:
                await future
            assert caught.value.uncertain is True  # type: ignore[attr-defined]
        await it.gone()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_loss_fails_all_that_wait_each_for_itself(how: str) -> None:
    async with wired() as it:
        futures = [it.expect(), it.expect_batch(3), it.expect()]
        peer = it.server.peer
        peer.writer.close() if how == "close" else peer.reset()
        errors = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(error) for error in errors] == [ConnectionError] * 3
        assert len(set(map(id, errors))) == 3
        assert all(error.uncertain is True for error in errors)  # type: ignore[union-attr]
        await it.gone()


async def test_the_loss_is_reported_once() -> None:
    async with wired() as it:
        it.link.fail(ConnectionError("no"))
        it.link.connection_lost(None)
        it.link.connection_lost(OSError("again"))
        assert it.lost == [it.link]


async def test_nobody_needs_to_look_at_a_failure(quiet: list[Any]) -> None:
    async with wired() as it:
        it.expect()
        it.link.fail(ConnectionError("no"))
    assert quiet == []


async def test_closing() -> None:
    async with wired() as it:
        future = it.expect()
        await it.link.aclose()
        with pytest.raises(ConnectionError) as caught:
            await future
        assert caught.value.uncertain is True  # type: ignore[attr-defined]
        await it.gone()
        await it.link.aclose()
        it.link.abort()


async def test_closing_sends_what_was_written() -> None:
    async with wired() as it:
        it.link.write(one("LPUSH", "k", b"x" * 3_000_000))
        await it.link.aclose()
        await it.gone()
        assert [len(command[-1]) for command in it.server.peer.commands] == [3_000_000]


async def test_aborting() -> None:
    async with wired() as it:
        future = it.expect()
        it.link.abort()
        with pytest.raises(ConnectionError):
            await future
        await it.gone()


@pytest.mark.parametrize("managed", [True, False])
async def test_a_master_that_was_demoted(managed: bool) -> None:
    async with wired(managed=managed) as it:
        first, second = it.expect(), it.expect()
        it.server.peer.say(
            b"-READONLY You can't write against a read only replica.\r\n"
        )
        if managed:
            with pytest.raises(ConnectionError) as caught:
                await first
            assert caught.value.uncertain is False  # type: ignore[attr-defined]
            with pytest.raises(ConnectionError):
                await second
            await it.gone()
        else:
            with pytest.raises(ReadOnlyError):
                await first
            it.server.peer.say(b"+b\r\n")
            assert await second == b"b"


async def test_a_full_socket_is_noticed() -> None:
    async with wired() as it:
        it.server.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert it.link.writable
        while it.link.writable:
            it.link.write(b"x" * 1_000_000)
        before = it.replies
        it.link.resume_writing()
        assert it.link.writable
        assert it.replies == before + 1
        it.link.abort()


async def test_a_flood_of_replies_is_delivered_in_parts() -> None:
    loop = asyncio.get_running_loop()
    link = Link(lambda: None, lambda link: None)
    futures = [loop.create_future() for _ in range(3 * AT_ONCE)]
    link.waiting.extend(futures)
    link.data_received(b":1\r\n" * len(futures))
    assert sum(future.done() for future in futures) == AT_ONCE
    link.waiting.append(late := loop.create_future())
    link.data_received(b":2\r\n")
    assert await asyncio.gather(*futures) == [1] * len(futures)
    assert await late == 2


async def test_replies_that_came_before_the_end_count() -> None:
    loop = asyncio.get_running_loop()
    link = Link(lambda: None, lambda link: None)
    futures = [loop.create_future() for _ in range(2 * AT_ONCE + FAIL_AT_ONCE)]
    link.waiting.extend(futures)
    link.data_received(b":1\r\n" * (2 * AT_ONCE))
    link.connection_lost(None)
    answered, lost = futures[: 2 * AT_ONCE], futures[2 * AT_ONCE :]
    assert [future.result() for future in answered] == [1] * len(answered)
    for future in lost:
        error: Any = future.exception()
        assert error.uncertain
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_loss_is_told_in_portions_and_in_order() -> None:
    async with wired() as it:
        order: list[int] = []
        turns: list[int] = []
        turn = 0

        async def wait(number: int, future: asyncio.Future[Any]) -> None:
            with pytest.raises(ConnectionError):
                await future
            order.append(number)
            turns.append(turn)

        count = 5 * FAIL_AT_ONCE + 3
        futures = [it.expect() for _ in range(count)]
        waits = [asyncio.ensure_future(wait(*each)) for each in enumerate(futures)]
        await asyncio.sleep(0)
        futures[FAIL_AT_ONCE + 1].cancel()
        it.link.fail(ConnectionError("no"))
        while not all(one.done() for one in waits):
            turn += 1
            await asyncio.sleep(0)
        assert order == [n for n in range(count) if n != FAIL_AT_ONCE + 1]
        assert max(map(turns.count, set(turns))) <= FAIL_AT_ONCE
        assert waits[FAIL_AT_ONCE + 1].cancelled()
