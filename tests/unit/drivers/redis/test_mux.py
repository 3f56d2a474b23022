from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError

from celery_async_bridge.core.loops import aclose_loop
from celery_async_bridge.drivers.redis.mux import AT_ONCE, Mux, mux_for, muxes
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    Pools,
    Watcher,
    a_mux,
    address,
    bulk,
    echo,
    fake_server,
    many,
    one,
    outcome,
    plain,
)

# -- sending --------------------------------------------------------------------------


async def test_a_thousand_callers_each_get_their_own(
    pool: Any, unique: str, watcher: Watcher
) -> None:
    async with a_mux(pool) as mux:

        async def caller(number: int) -> None:
            for turn in range(3):
                value = b"%d-%d" % (number, turn)
                if number % 3 == 2:
                    data, count = many(
                        ("MULTI",), ("ECHO", value), ("GET", "nosuch"), ("EXEC",)
                    )
                    found = await mux.push_many(data, count)
                    assert found == [b"OK", b"QUEUED", b"QUEUED", [value, None]]
                else:
                    assert await mux.push(one("ECHO", value)) == value
                await asyncio.sleep(0)

        await asyncio.gather(*map(caller, range(1000)))
        assert mux.in_flight == 0
        assert await watcher.count() == 1


async def test_order_of_arrival_is_order_of_sending(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        await asyncio.gather(*(mux.push(one("RPUSH", unique, n)) for n in range(1000)))
        found = await mux.push(one("LRANGE", unique, 0, -1))
        assert found == [b"%d" % n for n in range(1000)]


async def test_a_tick_is_one_write(pools: Pools) -> None:
    async with fake_server(echo) as server, a_mux(plain(pools, server)) as mux:
        written: list[bytes] = []
        link: Any = mux._link
        original = link.write

        def write(data: bytes) -> None:
            written.append(data)
            original(data)

        link.write = write
        commands = [one("ECHO", n) for n in range(20)]
        await asyncio.gather(*map(mux.push, commands))
        assert written == [b"".join(commands)]


async def test_an_error_is_its_callers_own(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        await mux.push(one("SET", unique, "text"))
        found = await asyncio.gather(
            mux.push(one("LPUSH", f"{unique}-list", 1)),
            mux.push(one("LPUSH", unique, 1)),
            mux.push(one("LPUSH", f"{unique}-list", 2)),
            return_exceptions=True,
        )
        assert (found[0], found[2]) == (1, 2)
        assert isinstance(found[1], ResponseError)
        assert "WRONGTYPE" in str(found[1])


async def test_blocks_are_never_torn(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:

        async def transaction(number: int) -> None:
            pushes = [("RPUSH", unique, f"{number}-{n}") for n in range(3)]
            data, count = many(("MULTI",), *pushes, ("EXEC",))
            replies = await mux.push_many(data, count)
            assert replies[:-1] == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED"]

        async def command(number: int) -> None:
            await mux.push(one("RPUSH", unique, f"single-{number}"))

        await asyncio.gather(
            *(f(n) for n in range(100) for f in (transaction, command))
        )
        entries = await mux.push(one("LRANGE", unique, 0, -1))
        assert len(entries) == 400
        for number in range(100):
            first = entries.index(b"%d-0" % number)
            assert entries[first : first + 3] == [
                b"%d-%d" % (number, n) for n in range(3)
            ]


async def test_errors_in_a_batch_are_items(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        data, count = many(
            ("SET", unique, "x"), ("LPUSH", unique, 1), ("GET", unique), ("NOSUCH",)
        )
        found = await mux.push_many(data, count)
        assert (found[0], found[2]) == (b"OK", b"x")
        assert isinstance(found[1], ResponseError)
        assert isinstance(found[3], ResponseError)


async def test_ten_megabytes_both_ways(pool: Any, unique: str) -> None:
    big = bytes(range(256)) * 40_960
    async with a_mux(pool) as mux:
        assert len(big) > 10_000_000
        results = await asyncio.gather(
            mux.push(one("SET", unique, big)),
            mux.push(one("ECHO", b"\r\n$5\r\n\0")),
            mux.push(one("GET", unique)),
            mux.push(one("ECHO", b"after")),
        )
        assert results[0] == b"OK"
        assert results[2] == big
        assert (results[1], results[3]) == (b"\r\n$5\r\n\0", b"after")


# -- cancelling -----------------------------------------------------------------------


async def test_cancelled_before_the_write_it_was_never_sent(
    pool: Any, unique: str
) -> None:
    async with a_mux(pool) as mux:
        futures = [mux.push(one("RPUSH", unique, n)) for n in range(5)]
        data, count = many(("MULTI",), ("RPUSH", unique, "block"), ("EXEC",))
        block = mux.push_many(data, count)
        futures[2].cancel()
        block.cancel()
        await asyncio.gather(*futures, block, return_exceptions=True)
        found = await mux.push(one("LRANGE", unique, 0, -1))
        assert found == [b"0", b"1", b"3", b"4"]


async def test_cancelled_after_the_write_it_is_sent_once(
    pool: Any, unique: str
) -> None:
    async with a_mux(pool) as mux:
        futures = [mux.push(one("RPUSH", unique, n)) for n in range(5)]
        data, count = many(("MULTI",), ("RPUSH", unique, "block"), ("EXEC",))
        block = mux.push_many(data, count)
        await asyncio.sleep(0)  # the write
        futures[2].cancel()
        block.cancel()
        echoed = await asyncio.gather(*(mux.push(one("ECHO", n)) for n in range(50)))
        assert echoed == [b"%d" % n for n in range(50)]
        found = await mux.push(one("LRANGE", unique, 0, -1))
        assert found == [b"0", b"1", b"2", b"3", b"4", b"block"]
        assert mux.generation == 1


async def test_all_cancelled_before_the_write(pool: Any, unique: str) -> None:
    async with a_mux(pool, limit=1) as mux:

        async def changes_its_mind() -> None:
            await mux.wait_room()
            mux.push(one("RPUSH", unique, "no")).cancel()

        first = mux.push(one("LLEN", unique))
        leaves = asyncio.ensure_future(changes_its_mind())
        stays = asyncio.ensure_future(mux.wait_room())
        assert await first == 0
        await asyncio.wait_for(leaves, 5)
        # No reply will come for what was not sent, and yet the next is let in.
        await asyncio.wait_for(stays, 5)
        assert await mux.push(one("LLEN", unique)) == 0


# -- room -----------------------------------------------------------------------------


class Crowd:
    """Callers that wait for room, and the most that were let in at once."""

    def __init__(self, mux: Mux) -> None:
        self.mux = mux
        self.most = 0
        self.order: list[int] = []

    async def send(self, number: int) -> Any:
        if not self.mux.room:
            await self.mux.wait_room()
        self.order.append(number)
        future = self.mux.push(one("ECHO", number))
        self.most = max(self.most, self.mux.in_flight)
        return await future


async def test_never_more_in_flight_than_the_limit(pool: Any) -> None:
    async with a_mux(pool, limit=7) as mux:
        crowd = Crowd(mux)
        found = await asyncio.gather(*map(crowd.send, range(500)))
        assert found == [b"%d" % n for n in range(500)]
        assert crowd.most == 7
        assert crowd.order == list(range(500))
        assert mux.room


async def test_who_comes_while_another_is_let_in_stands_behind(pools: Pools) -> None:
    async with fake_server() as server, a_mux(plain(pools, server), limit=1) as mux:
        crowd = Crowd(mux)
        tasks = [asyncio.ensure_future(crowd.send(n)) for n in range(2)]
        await until(lambda: server.peer.commands)

        link: Any = mux._link
        take = link._take
        late: list[asyncio.Task[Any]] = []

        def comes(most: int) -> bool:
            # In the very turn in which the second one is let in, and before it.
            late.append(asyncio.ensure_future(crowd.send(2)))
            link._take = take
            taken: bool = take(most)
            return taken

        link._take = comes
        server.answer = echo
        server.peer.say(bulk(b"0"))
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        await asyncio.wait_for(late[0], 5)
        assert (crowd.most, crowd.order) == (1, [0, 1, 2])


@pytest.mark.parametrize("when", ["waiting", "let in"])
async def test_who_leaves_makes_room(pools: Pools, when: str) -> None:
    async with fake_server() as server, a_mux(plain(pools, server), limit=1) as mux:
        crowd = Crowd(mux)
        tasks = [asyncio.ensure_future(crowd.send(n)) for n in range(4)]
        await until(lambda: server.peer.commands)
        server.answer = echo
        if when == "waiting":
            tasks[1].cancel()
        else:
            mux._queue[0].add_done_callback(lambda place: tasks[1].cancel())
        server.peer.say(bulk(b"0"))
        found = await asyncio.gather(*map(outcome, (tasks[0], *tasks[2:])))
        assert found == [b"0", b"2", b"3"]
        assert tasks[1].cancelled()
        assert mux.room


async def test_a_place_whose_owner_was_closed_is_nobodys(pools: Pools) -> None:
    async with fake_server() as server, a_mux(plain(pools, server), limit=1) as mux:
        first = mux.push(one("ECHO", 0))
        waiting = mux.wait_room()
        waiting.send(None)
        waiting.close()
        await until(lambda: server.peer.commands)
        server.answer = echo
        server.peer.say(bulk(b"0"))
        await first
        for number in range(3):
            await asyncio.wait_for(mux.wait_room(), 5)
            assert await mux.push(one("ECHO", number)) == b"%d" % number


async def test_a_full_socket_means_no_room(pools: Pools) -> None:
    ok = b"+OK\r\n"
    async with (
        fake_server(lambda p, c: ok) as server,
        a_mux(plain(pools, server)) as mux,
    ):
        server.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = []
        while mux.room:
            sent.append(mux.push(one("SET", "k", b"x" * 1_000_000)))
            await asyncio.sleep(0)
        assert len(sent) < mux.limit
        waiting = asyncio.ensure_future(mux.wait_room())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        server.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(waiting, 5)
        assert set(await asyncio.gather(*sent)) == {b"OK"}


async def test_a_loss_lets_everybody_go(pools: Pools) -> None:
    async with fake_server() as server, a_mux(plain(pools, server), limit=2) as mux:
        tasks = [asyncio.ensure_future(Crowd(mux).send(n)) for n in range(6)]
        await until(lambda: len(server.peer.commands) == 2)
        server.peer.reset()
        found = await asyncio.gather(*map(outcome, tasks))
        assert [type(error) for error in found] == [ConnectionError] * 6
        # Those that had been written, and those that had not.
        assert [error.uncertain for error in found] == [True] * 2 + [False] * 4
        await mux.ready()
        assert mux.room


# -- one per loop and server ----------------------------------------------------------


async def test_one_for_each_server_of_a_loop(pools: Pools) -> None:
    first = mux_for(address(pools.make()))
    assert mux_for(address(pools.make(socket_timeout=3))) is first
    assert mux_for(address(pools.make(url=pools.other_url))) is not first
    assert first in muxes()
    await aclose_loop()
    assert first not in muxes()
    assert mux_for(address(pools.make())) is not first


async def test_eight_threads_with_a_loop_each(pools: Pools, watcher: Watcher) -> None:
    pool = pools.make()
    everybody_is_there = threading.Barrier(9)
    found: list[Mux] = []
    errors: list[BaseException] = []

    async def main() -> None:
        mux = mux_for(address(pool))
        found.append(mux)
        await asyncio.gather(*(mux.ready() for _ in range(5)))
        values = [f"{id(mux)}-{n}".encode() for n in range(100)]
        assert (
            await asyncio.gather(*(mux.push(one("ECHO", value)) for value in values))
            == values
        )
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, everybody_is_there.wait, 20)
        await loop.run_in_executor(None, everybody_is_there.wait, 20)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(everybody_is_there.wait, 20)
    assert await watcher.count() == 8
    assert len(muxes()) == 8
    await asyncio.to_thread(everybody_is_there.wait, 20)
    for thread in threads:
        await asyncio.to_thread(thread.join, 20)
    assert errors == []
    assert len(set(map(id, found))) == 8
    await watcher.settles(0)


async def test_whether_something_has_left(pools: Pools) -> None:
    async with fake_server(echo) as server, a_mux(plain(pools, server)) as mux:
        single = mux.push(one("ECHO", 1))
        block = mux.push_many(*many(("ECHO", 2), ("ECHO", 3)))
        assert not mux.has_written(single)
        assert not mux.has_written(block)
        await asyncio.sleep(0)
        later = mux.push(one("ECHO", 4))
        assert mux.has_written(single)
        assert mux.has_written(block)
        assert not mux.has_written(later)
        assert await asyncio.gather(single, block, later) == [b"1", [b"2", b"3"], b"4"]


async def test_only_so_many_are_let_in_for_one_turn(pools: Pools) -> None:
    async with fake_server(echo) as server, a_mux(plain(pools, server)) as mux:
        sent: list[asyncio.Future[Any]] = []
        while mux.room:
            sent.append(mux.push(one("ECHO", len(sent))))
        assert len(sent) == AT_ONCE < mux.limit
        assert mux.free == 0
        # The next go as soon as these have left, without waiting for a reply.
        await mux.wait_room()
        assert not any(future.done() for future in sent)
        assert 0 < mux.free <= AT_ONCE
        found = await asyncio.gather(*sent)
        assert found == [b"%d" % number for number in range(AT_ONCE)]
