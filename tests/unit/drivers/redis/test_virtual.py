# redis-py's stubs leave the types of replies open.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError, DataError, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from celery_async_bridge.core.taps import Replay, recorder, replay, retries_uncertain
from celery_async_bridge.drivers.redis.mux import Mux, mux_for, muxes
from celery_async_bridge.drivers.redis.virtual import VirtualConnection
from celery_async_bridge.errors import DeliveryUncertain
from tests.unit.core.help import closed_port, until
from tests.unit.drivers.redis.help import (
    Peer,
    Pools,
    Watcher,
    address,
    call,
    echo,
    fake_server,
    outcome,
)


@pytest.fixture
def client(pools: Pools) -> Any:
    return pools.client()


async def test_a_client_of_redis_py_runs_unchanged(client: Any, unique: str) -> None:
    def work() -> list[Any]:
        return [
            client.set(unique, "ü", ex=60),
            client.get(unique),
            client.ttl(unique) > 50,
            client.hset(f"{unique}-h", mapping={"a": 1, "b": 2}),
            client.hgetall(f"{unique}-h"),
            client.sadd(f"{unique}-s", 1, 2),
            client.smembers(f"{unique}-s"),
            client.zadd(f"{unique}-z", {"a": 1.5}),
            client.zrange(f"{unique}-z", 0, -1, withscores=True),
            client.mget(unique, "nosuch"),
            client.publish(unique, "x"),
            client.exists(unique),
        ]

    found = await call(work)
    await call(lambda: client.delete(*[f"{unique}{x}" for x in ("", "-h", "-s", "-z")]))
    assert found == await asyncio.to_thread(work)


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_are_those_of_the_sync_connection(
    pools: Pools, unique: str, protocol: int, decode: bool
) -> None:
    client = pools.client(protocol=protocol, decode_responses=decode)

    def work() -> list[Any]:
        client.delete(unique, f"{unique}-h", f"{unique}-s", f"{unique}-z")
        client.set(unique, "ü")
        client.hset(f"{unique}-h", mapping={"a": "ü", "b": "2"})
        client.sadd(f"{unique}-s", "1", "ü")
        client.zadd(f"{unique}-z", {"ü": 1.5, "b": 2})
        with client.pipeline(transaction=False) as pipe:
            pipe.get(unique)
            pipe.hgetall(f"{unique}-h")
            pipe.get("nosuch")
            loose = pipe.execute()
        with client.pipeline() as pipe:
            pipe.smembers(f"{unique}-s")
            pipe.zrange(f"{unique}-z", 0, -1, withscores=True)
            strict = pipe.execute()
        return [
            client.get(unique),
            client.hgetall(f"{unique}-h"),
            client.smembers(f"{unique}-s"),
            client.zrange(f"{unique}-z", 0, -1, withscores=True),
            client.config_get("maxclients"),
            client.execute_command("HGETALL", f"{unique}-h"),
            client.execute_command("CONFIG GET", "maxclients"),
            client.eval("return {1, 'a', false, {'b', 2.5}}", 0),
            client.get("nosuch"),
            loose,
            strict,
        ]

    theirs = await asyncio.to_thread(work)
    ours = await call(work)
    assert ours == theirs
    assert list(map(type, ours)) == list(map(type, theirs))


async def test_what_must_not_be_decoded(pools: Pools, unique: str) -> None:
    client = pools.client(decode_responses=True)
    await call(lambda: client.set(unique, b"\xff"))
    assert isinstance(await call(lambda: client.dump(unique)), bytes)
    with pytest.raises(UnicodeDecodeError):
        await call(lambda: client.get(unique))
    # The connection is in step all the same.
    assert await call(lambda: client.exists(unique)) == 1


async def test_binary_and_big_values(client: Any, unique: str) -> None:
    big = bytes(range(256)) * 40_960
    await call(lambda: client.set(unique, big))
    assert await call(lambda: client.get(unique)) == big


async def test_a_type_that_redis_has_not(client: Any, unique: str) -> None:
    for bad in (None, object(), True, [1]):
        sync = await asyncio.to_thread(_error, client, unique, bad)
        ours = await call(lambda bad=bad: _error(client, unique, bad))
        assert type(ours) is type(sync) is DataError
        assert str(ours) == str(sync)
    assert await call(lambda: client.exists(unique)) == 0


def _error(client: Any, name: str, value: Any) -> Any:
    try:
        client.execute_command("SET", name, value)
    except Exception as exc:
        return exc


async def test_what_a_pipeline_is_refused_for(client: Any, unique: str) -> None:
    def work() -> Any:
        with client.pipeline() as pipe:
            pipe.rpush(unique, "a")
            pipe.execute_command("SET", unique, object())
            pipe.execute()

    with pytest.raises(DataError):
        await call(work)
    assert await call(lambda: client.exists(unique)) == 0


async def test_errors_go_to_their_own(client: Any, unique: str) -> None:
    await call(lambda: client.set(unique, "text"))
    calls = [
        call(lambda n=n: client.lpush(unique, n))
        if n % 3 == 0
        else call(lambda n=n: client.echo(str(n)))
        for n in range(60)
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    for number, one in enumerate(found):
        if number % 3 == 0:
            assert isinstance(one, ResponseError)
        else:
            assert one == b"%d" % number


async def test_an_error_in_a_pipeline(client: Any, unique: str) -> None:
    def work(transaction: bool, strict: bool) -> Any:
        with client.pipeline(transaction=transaction) as pipe:
            pipe.set(unique, "text").lpush(unique, 1).get(unique)
            return pipe.execute(raise_on_error=strict)

    for transaction in (True, False):
        found = await call(lambda t=transaction: work(t, False))
        assert (found[0], found[2]) == (True, b"text")
        assert isinstance(found[1], ResponseError)
        with pytest.raises(ResponseError, match="LPUSH"):
            await call(lambda t=transaction: work(t, True))


async def test_scripts_are_loaded_when_they_are_missing(
    client: Any, unique: str, watcher: Watcher
) -> None:
    # A body of its own, so that the server cannot know it.
    script = client.register_script(f"return {{KEYS[1], ARGV[1], '{unique}'}}")
    with pytest.raises(NoScriptError):
        await call(lambda: client.evalsha(script.sha, 1, "k", "v"))
    found = await call(lambda: script(keys=["k"], args=["v"]))
    assert found == [b"k", b"v", unique.encode()]

    other = client.register_script(f"return '{unique}-other'")

    def piped() -> Any:
        with client.pipeline() as pipe:
            other(client=pipe)
            return pipe.execute()

    assert await call(piped) == [f"{unique}-other".encode()]


async def test_locks(client: Any, unique: str) -> None:
    def work() -> list[Any]:
        lock = client.lock(unique, timeout=10, blocking=False)
        mine = lock.acquire()
        second = client.lock(unique, timeout=10, blocking=False).acquire()
        lock.release()
        return [mine, second, client.exists(unique)]

    assert await call(work) == [True, False, 0]


# -- the connection itself ------------------------------------------------------------


async def connection(pool: Any) -> VirtualConnection:
    found = await call(lambda: pool.get_connection())
    assert type(found) is VirtualConnection
    return found


async def test_it_looks_like_a_connection(pool: Any) -> None:
    it = await connection(pool)
    kwargs = pool.connection_kwargs
    assert (it.host, it.port, it.db) == (kwargs["host"], kwargs["port"], kwargs["db"])
    assert it.is_connected
    assert not it.should_reconnect()
    assert it.get_protocol() == kwargs.get("protocol")
    assert it.retry.get_retries() == 0
    it.check_health()
    it.register_connect_callback(print)
    it.deregister_connect_callback(print)
    it.disconnect()
    assert it.is_connected


async def test_commands_are_answered_in_their_order(pool: Any, unique: str) -> None:
    it = await connection(pool)

    def work() -> list[Any]:
        it.send_command("ECHO", "a")
        found: list[Any] = [it.can_read(), it.read_response()]
        it.send_packed_command(it.pack_commands([("ECHO", 1), ("ECHO", 2)]))
        found += [it.read_response(), it.can_read(), it.read_response(), it.can_read()]
        it.send_packed_command(it.pack_command("ECHO", "b"))
        return [*found, it.read_response()]

    assert await call(work) == [False, b"a", b"1", True, b"2", False, b"b"]


async def test_there_is_nothing_to_read(pool: Any) -> None:
    it = await connection(pool)
    with pytest.raises(ConnectionError):
        await call(it.read_response)


async def test_bytes_of_unknown_content_are_refused(pool: Any) -> None:
    it = await connection(pool)
    for data in (b"*1\r\n$4\r\nPING\r\n", [b"*1\r\n$4\r\nPING\r\n"]):
        with pytest.raises(DataError):
            await call(lambda data=data: it.send_packed_command(data))


async def test_a_call_that_was_left_does_not_leave_its_reply(
    pool: Any, client: Any, unique: str
) -> None:
    async def cancelled(ticks: int) -> None:
        task = asyncio.ensure_future(call(lambda: client.rpush(unique, ticks)))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await call(client.ping)
    for ticks in range(6):
        await cancelled(ticks)
        assert await call(lambda t=ticks: client.echo(f"{t}")) == b"%d" % ticks
    entries = await call(lambda: client.lrange(unique, 0, -1))
    # Once or not at all; before the start never.
    assert len(entries) == len(set(entries))
    assert b"0" not in entries
    assert b"5" in entries
    (mux,) = [one for one in muxes() if one.up]
    assert (mux.in_flight, mux.generation) == (0, 1)


async def test_calls_wait_for_room(pools: Pools) -> None:
    pool = pools.make()
    client = redis.Redis(connection_pool=pool)
    mux = mux_for(address(pool), 3)
    most: list[int] = []
    push = mux.push

    def watched(data: bytes) -> Any:
        future = push(data)
        most.append(mux.in_flight)
        return future

    mux.push = watched  # type: ignore[method-assign]
    found = await asyncio.gather(
        *(call(lambda n=n: client.echo(str(n))) for n in range(200))
    )
    assert found == [b"%d" % n for n in range(200)]
    assert max(most) == 3


# -- failures -------------------------------------------------------------------------


async def test_nobody_listens(pools: Pools) -> None:
    client = pools.client(url=f"redis://127.0.0.1:{closed_port()}/0")
    with pytest.raises(ConnectionError):
        await call(client.ping)


async def test_no_hidden_retries(pools: Pools) -> None:
    """redis-py's own left three copies of one message."""

    def drop(peer: Peer, command: list[bytes]) -> None:
        peer.reset()

    async with fake_server(drop) as server:
        client = pools.client(url=server.url, protocol=2)
        with pytest.raises(ConnectionError) as caught:
            await call(lambda: client.rpush("k", "v"))
        assert caught.value.uncertain is True  # type: ignore[attr-defined]
        assert sum(len(peer.commands) for peer in server.peers) == 1

        def piped() -> None:
            with client.pipeline() as pipe:
                pipe.rpush("k", "v")
                pipe.execute()

        with pytest.raises(ConnectionError):
            await call(piped)
        sent = [c[0] for peer in server.peers for c in peer.commands]
        assert sent.count(b"RPUSH") <= 2


@pytest.mark.parametrize("how", ["reset", "silence"])
async def test_uncertain_calls_that_must_not_be_repeated(
    pools: Pools, how: str
) -> None:
    def answer(peer: Peer, command: list[bytes]) -> None:
        if how == "reset":
            peer.reset()

    async with fake_server(answer) as server:
        # Else connecting had no more time than a reply.
        patient = {"socket_connect_timeout": 20, "socket_timeout": 0.3}
        client = pools.client(url=server.url, protocol=2, **patient)
        plain = await outcome(call(lambda: client.rpush("k", "v")))
        assert type(plain) is (ConnectionError if how == "reset" else RedisTimeout)
        token = retries_uncertain.set(False)
        try:
            error = await outcome(call(lambda: client.rpush("k", "v")))
        finally:
            retries_uncertain.reset(token)
        assert type(error) is DeliveryUncertain
        assert error.uncertain is True
        assert type(error.__cause__) is type(plain)


async def test_a_certain_failure_may_always_be_repeated(pools: Pools) -> None:
    client = pools.client(url=f"redis://127.0.0.1:{closed_port()}/0")
    token = retries_uncertain.set(False)
    try:
        assert type(await outcome(call(client.ping))) is ConnectionError
        client = pools.client()
        error = await outcome(call(lambda: client.lpush("nosuch", object())))
        assert type(error) is DataError
    finally:
        retries_uncertain.reset(token)


# -- taps -----------------------------------------------------------------------------


async def test_a_recorder_sees_what_is_written(client: Any, unique: str) -> None:
    seen: list[tuple[Any, list[tuple[Any, ...]]]] = []

    def tap(mux: Any, commands: list[tuple[Any, ...]]) -> None:
        seen.append((mux, commands))

    def work() -> None:
        client.rpush(unique, "a", 2)
        with client.pipeline() as pipe:
            pipe.llen(unique)
            pipe.delete(unique)
            pipe.execute()

    token = recorder.set(tap)
    try:
        await call(work)
        await asyncio.ensure_future(call(client.ping))
    finally:
        recorder.reset(token)
    await call(client.ping)
    assert [commands for _, commands in seen] == [
        [("RPUSH", unique, "a", 2)],
        [("MULTI",), ("LLEN", unique), ("DEL", unique), ("EXEC",)],
        [("PING",)],
    ]
    assert {type(mux) for mux, _ in seen} == {Mux}


async def test_a_replayed_failure_comes_once_and_first(
    client: Any, unique: str
) -> None:
    failure = ConnectionError("the first attempt")

    def work() -> list[Any]:
        found: list[Any] = []
        for number in range(3):
            try:
                found.append(client.rpush(unique, number))
            except ConnectionError as exc:
                found.append(exc)
        return found

    token = replay.set(Replay(failure))
    try:
        assert await call(work) == [failure, 1, 2]
    finally:
        replay.reset(token)
    assert await call(lambda: client.lrange(unique, 0, -1)) == [b"1", b"2"]


async def test_callers_in_a_crowd_are_not_replayed(pools: Pools) -> None:
    async with fake_server(echo) as server:
        client = pools.client(url=server.url, protocol=2)

        async def one(number: int) -> Any:
            if number == 3:
                replay.set(Replay(ConnectionError("mine")))
            return await outcome(call(lambda: client.echo(str(number))))

        found = await asyncio.gather(*(asyncio.ensure_future(one(n)) for n in range(6)))
        assert [type(f) for f in found] == [bytes] * 3 + [ConnectionError] + [bytes] * 2
        await until(lambda: len(server.peer.commands) == 5)
