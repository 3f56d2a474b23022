from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import ConnectionError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from celery_async_bridge.drivers.redis import mux as module
from celery_async_bridge.drivers.redis.mux import Mux
from tests.unit.core.help import closed_port, until
from tests.unit.drivers.redis.help import (
    Peer,
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

# -- losing the connection ------------------------------------------------------------


async def test_lost_before_the_write_is_certain(pools: Pools) -> None:
    async with fake_server() as server, a_mux(plain(pools, server)) as mux:
        written = mux.push(one("SET", "k", 1))
        await until(lambda: server.peer.commands)
        link: Any = mux._link
        late = mux.push(one("SET", "k", 2))
        block = mux.push_many(*many(("MULTI",), ("EXEC",)))
        link.abort()
        link.fail(ConnectionError("gone"))
        errors: list[Any] = await asyncio.gather(late, block, return_exceptions=True)
        assert [error.uncertain for error in errors] == [False] * 2
        with pytest.raises(ConnectionError):
            await written
        await asyncio.sleep(0.05)
        assert len(server.peer.commands) == 1


async def test_lost_after_the_write_is_uncertain(pools: Pools) -> None:
    async with fake_server() as server, a_mux(plain(pools, server)) as mux:
        futures = [mux.push(one("SET", "k", n)) for n in range(3)]
        futures.append(mux.push_many(*many(("MULTI",), ("EXEC",))))
        await until(lambda: len(server.peer.commands) == 5)
        server.peer.reset()
        errors: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(error) for error in errors] == [ConnectionError] * 4
        assert [error.uncertain for error in errors] == [True] * 4
        assert not mux.up


async def test_without_a_connection_nothing_is_sent(pool: Any) -> None:
    mux = Mux(address(pool), 512)
    assert not mux.up
    assert not mux.room
    await mux.wait_room()  # it does not wait for what nobody has asked for
    for future in (mux.push(one("PING")), mux.push_many(*many(("PING",)))):
        with pytest.raises(ConnectionError) as caught:
            await future
        assert caught.value.uncertain is False  # type: ignore[attr-defined]


async def test_a_new_connection_is_a_new_generation(
    pool: Any, watcher: Watcher
) -> None:
    async with a_mux(pool) as mux:
        old: Any = mux._link
        assert mux.generation == 1
        await watcher.kill()
        await until(lambda: not mux.up)
        await mux.ready()
        assert mux.generation == 2
        # What the old one says late is no business of the new one.
        future = mux.push(one("ECHO", "still"))
        old.connection_lost(OSError("late"))
        old.fail(ConnectionError("late"))
        assert await future == b"still"
        assert mux.up
        assert await watcher.count() == 1


async def test_a_server_that_leaves_as_it_lets_in(pools: Pools) -> None:
    """Its good-bye comes with the last answer, before the connection is ours."""
    async with fake_server(echo) as server:
        async with a_mux(plain(pools, server)):
            pass
        server.leaves_after = 2 * server.handshakes
        mux = Mux(address(plain(pools, server)), 512)
        found = await outcome(mux.ready())
        if found is None:
            found = await outcome(mux.push(one("ECHO", "x")))
        # Told of it, or connected once more: but never left waiting.
        assert type(found) is ConnectionError or found == b"x"
        assert server.handshakes >= server.leaves_after
        await mux.aclose()


# -- silence --------------------------------------------------------------------------


async def test_silence_is_given_up(pools: Pools, quiet: list[Any]) -> None:
    async with fake_server() as server:
        pool = plain(pools, server, socket_timeout=0.1)
        async with a_mux(pool) as mux:
            futures: list[Any] = [mux.push(one("SET", "k", n)) for n in range(3)]
            futures.append(mux.push_many(*many(("MULTI",), ("EXEC",))))
            errors = await asyncio.gather(*map(outcome, futures))
            assert [type(error) for error in errors] == [RedisTimeout] * 4
            assert all(error.uncertain for error in errors)
            assert not mux.up
            # The socket goes, too: nothing of it may be carried out later.
            await until(lambda: server.peer.closed)
            await mux.ready()
            assert mux.generation == 2
    assert quiet == []


async def test_a_late_reply_comes_too_late(pools: Pools) -> None:
    async with fake_server() as server:
        pool = plain(pools, server, socket_timeout=0.1)
        async with a_mux(pool) as mux:
            assert isinstance(await outcome(mux.push(one("ECHO", 1))), RedisTimeout)
            old = server.peer
            old.say(bulk(b"late"))
            await mux.ready()
            server.answer = echo
            assert await mux.push(one("ECHO", 2)) == b"2"


async def test_a_slow_server_that_moves_is_not_given_up(pools: Pools) -> None:
    async with fake_server() as server:
        pool = plain(pools, server, socket_timeout=1)
        async with a_mux(pool) as mux:
            futures = [mux.push(one("ECHO", n)) for n in range(8)]
            await until(lambda: len(server.peer.commands) == 8)
            for number in range(8):  # together far longer than the limit
                await asyncio.sleep(0.25)
                server.peer.say(bulk(b"%d" % number))
            assert await asyncio.gather(*futures) == [b"%d" % n for n in range(8)]
            assert mux.generation == 1


async def test_a_loop_that_was_busy_reads_before_it_judges(pools: Pools) -> None:
    async with fake_server(echo) as server:
        pool = plain(pools, server, socket_timeout=0.05)
        async with a_mux(pool) as mux:
            await mux.push(one("ECHO", 0))
            await asyncio.sleep(0.02)
            future = mux.push(one("ECHO", 1))
            await asyncio.sleep(0)
            # The reply cannot be there yet, and the timer is over: it gets its grace.
            timer = mux._timer
            assert timer is not None
            timer.cancel()
            mux._seen = mux._link.progress  # type: ignore[union-attr]
            mux._judge(False)
            assert mux.up
            assert await future == b"1"
            await asyncio.sleep(module.GRACE + 0.1)
            assert mux.up


async def test_an_idle_connection_is_left_alone(pools: Pools) -> None:
    async with fake_server(echo) as server:
        pool = plain(pools, server, socket_timeout=0.05)
        async with a_mux(pool) as mux:
            await mux.push(one("ECHO", 0))
            await asyncio.sleep(module.GRACE + 0.3)
            assert mux.up
            assert mux._timer is None
            # And is watched again as soon as something waits.
            server.answer = lambda peer, command: None
            assert isinstance(await outcome(mux.push(one("ECHO", 1))), RedisTimeout)


# -- connecting -----------------------------------------------------------------------


async def test_callers_share_one_attempt(pools: Pools) -> None:
    async with fake_server(echo) as server:
        server.delay = 0.1
        mux = Mux(address(plain(pools, server)), 512)
        callers = [asyncio.ensure_future(mux.ready()) for _ in range(50)]
        await until(lambda: server.peers)
        # Who leaves must not end it for the others.
        for caller in callers[:49]:
            caller.cancel()
        await callers[-1]
        assert (len(server.peers), mux.generation) == (1, 1)
        assert await mux.push(one("ECHO", "x")) == b"x"
        await mux.aclose()


async def test_all_who_wait_learn_that_it_failed(pools: Pools) -> None:
    mux = Mux(address(pools.make(url=f"redis://127.0.0.1:{closed_port()}")), 512)
    errors = await asyncio.gather(*(outcome(mux.ready()) for _ in range(5)))
    assert [type(error) for error in errors] == [ConnectionError] * 5
    assert not mux.up
    # And nobody needs to have waited.
    task = asyncio.ensure_future(mux.ready())
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: mux._opening is None)


async def test_a_failed_attempt_is_followed_by_another(pools: Pools) -> None:
    async with fake_server(echo) as server:
        server.polite = False
        # The second attempt has no more time than the first.
        pool = plain(pools, server, socket_connect_timeout=1)
        mux = Mux(address(pool), 512)
        assert isinstance(await outcome(mux.ready()), RedisTimeout)
        await until(lambda: server.peer.closed)
        server.polite = True
        await mux.ready()
        assert await mux.push(one("ECHO", "x")) == b"x"
        await mux.aclose()


async def test_a_wrong_password(pools: Pools) -> None:
    def refuse(peer: Peer, command: list[bytes]) -> bytes:
        return b"-WRONGPASS invalid username-password pair\r\n"

    async with fake_server(refuse) as server:
        server.polite = False
        # Without the polite one every command of the handshake is ours to answer.
        server._take = lambda peer, command: peer.say(refuse(peer, command))  # type: ignore[method-assign]
        mux = Mux(address(plain(pools, server, password="no")), 512)
        error = await outcome(mux.ready())
        assert isinstance(error, RedisError)
        assert not mux.up
        await until(lambda: server.peer.closed)


async def test_closing_while_connecting(pools: Pools) -> None:
    async with fake_server(echo) as server:
        server.polite = False
        mux = Mux(address(plain(pools, server)), 512)
        callers = [asyncio.ensure_future(mux.ready()) for _ in range(3)]
        await until(lambda: server.peers)
        await mux.aclose()
        # Nobody has cancelled the callers.
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(error) for error in errors] == [ConnectionError] * 3
        assert [error.uncertain for error in errors] == [False] * 3  # type: ignore[union-attr]
        await until(lambda: server.peer.closed)


async def test_closing_and_going_on(pool: Any, watcher: Watcher) -> None:
    async with a_mux(pool) as mux:
        waiting = mux.push(one("BLPOP", "nosuch", 0))
        await asyncio.sleep(0.02)
        await mux.aclose()
        with pytest.raises(ConnectionError) as caught:
            await waiting
        assert caught.value.uncertain is True  # type: ignore[attr-defined]
        await watcher.settles(0)
        await mux.ready()
        assert await mux.push(one("ECHO", "x")) == b"x"


async def test_each_caller_of_an_attempt_has_an_error_of_its_own(pools: Pools) -> None:
    pool = pools.make(url=f"redis://127.0.0.1:{closed_port()}/0")
    mux = Mux(address(pool), 10)
    errors: list[Any] = await asyncio.gather(
        *(mux.ready() for _ in range(5)), return_exceptions=True
    )
    assert len(set(map(id, errors))) == 5
    assert len({(type(error), str(error)) for error in errors}) == 1
    # What led to it is the same for all.
    assert len({id(error.__context__) for error in errors}) == 1
    assert errors[0].__context__ is not None
    lengths = [len(traceback.extract_tb(error.__traceback__)) for error in errors]
    assert lengths == [lengths[0]] * 5


async def test_a_failed_attempt_keeps_no_caller_alive(pools: Pools) -> None:
    pool = pools.make(url=f"redis://127.0.0.1:{closed_port()}/0")
    mux = Mux(address(pool), 10)

    class Kept:
        pass

    async def caller() -> weakref.ref[Kept]:
        kept = Kept()
        with suppress(ConnectionError):
            await mux.ready()
        return weakref.ref(kept)

    gc.disable()  # what only the collector finds would count as kept
    try:
        found = await asyncio.gather(caller(), caller())
        assert [ref() for ref in found] == [None, None]
    finally:
        gc.enable()
