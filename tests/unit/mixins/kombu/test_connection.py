from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import kombu
import pytest
from kombu.exceptions import OperationalError

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
Named = Callable[..., str]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_async_with_connects_and_closes(url: str) -> None:
    connection: Any = Connection(url)
    async with connection as entered:
        assert entered is connection
        assert connection.connected
    assert not connection.connected


async def test_connect_gives_what_the_sync_twin_gives(url: str) -> None:
    with Connection(url) as sync:
        expected = type(sync.connect())
    connection: Any = Connection(url)
    assert type(await connection.aconnect()) is expected
    assert await connection.aconnection() is connection.connection
    await connection.aclose()
    assert not connection.connected
    assert await connection.aconnection() is None


async def test_ensure_connection_returns_itself(url: str) -> None:
    connection: Any = Connection(url)
    assert await connection.aensure_connection(max_retries=1) is connection
    assert connection.connected
    await connection.arelease()
    assert not connection.connected


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
async def test_a_refused_connection_raises_as_the_sync_twin_does(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{_free_port()}"
    options = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    with Connection(url) as sync, pytest.raises(OperationalError) as expected:
        sync.ensure_connection(**options)
    connection: Any = Connection(url)
    with pytest.raises(OperationalError) as raised:
        await connection.aensure_connection(**options)
    assert type(raised.value) is type(expected.value)
    assert str(raised.value) == str(expected.value)


async def test_a_pause_between_two_attempts_can_be_cancelled() -> None:
    connection: Any = Connection(f"redis://127.0.0.1:{_free_port()}")
    seen: list[float] = []
    call = asyncio.ensure_future(
        connection.aensure_connection(
            errback=lambda exc, interval: seen.append(interval), interval_start=60
        )
    )
    while not seen:  # noqa: ASYNC110 - a thread fills it
        await asyncio.sleep(0.01)
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - began < 30
    assert len(seen) == 1


async def test_channels(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        channel = await connection.achannel()
        default = await connection.adefault_channel()
        assert type(channel) is type(default)
        assert channel is not default
        assert (
            await connection.adefault_channel()
            is default
            is (connection.default_channel)
        )
        await connection.amaybe_close_channel(channel)
        await connection.arevive(await connection.achannel())
        assert await connection.adefault_channel() is not default


async def test_facts_about_the_connection(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        assert await connection.aget_heartbeat_interval() == (
            connection.get_heartbeat_interval()
        )
        assert await connection.aqos_semantics_matches_spec() == (
            connection.qos_semantics_matches_spec
        )
        assert await connection.aheartbeat_check() is None


async def test_the_manager(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        try:
            expected = connection.manager
        except Exception as exc:
            with pytest.raises(type(exc)):
                await connection.amanager()
        else:
            assert await connection.amanager() is expected


async def test_switch_to_another_broker(url: str) -> None:
    connection: Any = Connection("memory://")
    await connection.aconnect()
    await connection.aswitch(url)
    async with connection:
        assert connection.transport.driver_type == Connection(url).transport.driver_type
    await connection.amaybe_switch_next()


async def test_the_next_broker_of_a_list() -> None:
    connection: Any = Connection(f"redis://127.0.0.1:{_free_port()};memory://")
    await connection.amaybe_switch_next()
    assert connection.transport_cls in {"redis", "memory"}
    await connection.amaybe_switch_next()
    await connection.aensure_connection(max_retries=3, interval_start=0)
    assert connection.transport_cls == "memory"
    await connection.acollect()
    assert not connection.connected


async def test_draining_times_out_as_the_sync_twin_does(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        with pytest.raises(socket.timeout):
            connection.drain_events(timeout=0.05)
        began = time.monotonic()
        with pytest.raises(socket.timeout):
            await connection.adrain_events(timeout=0.3)
        assert 0.29 < time.monotonic() - began < 30


async def test_draining_calls_the_callbacks(url: str, named: Named) -> None:
    name = named()
    got: list[Any] = []
    async with Connection(url) as entered, Connection(url) as other:
        connection: Any = entered
        queue = Queue(name, kombu.Exchange(name), name)
        consumer = connection.aconsumer(
            [queue], callbacks=[lambda body, _: got.append(body)], no_ack=True
        )
        async with consumer:
            draining = asyncio.ensure_future(connection.adrain_events(timeout=30))
            await asyncio.sleep(0.15)
            producer: Any = other.Producer()
            await producer.apublish({"a": 1}, routing_key=name)
            await draining
    assert got == [{"a": 1}]


async def test_a_drain_can_be_cancelled_and_leaves_the_connection_usable(
    url: str, named: Named
) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named(), no_ack=True) as queue:
            for _ in range(3):
                draining = asyncio.ensure_future(connection.adrain_events())
                await asyncio.sleep(0.05)
                draining.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await draining
            await queue.aput(1)
            assert (await queue.aget(timeout=30)).payload == 1


async def test_others_use_the_connection_during_a_drain(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            draining = asyncio.ensure_future(connection.adrain_events())
            await asyncio.sleep(0.05)
            # Behind the drain, which waits for ever, they would miss their deadline.
            await queue.aput(1)
            assert await queue.aqsize() in {0, 1}
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining


@pytest.mark.parametrize("kind", ["asimple_queue", "asimple_buffer"])
async def test_simple_factories(url: str, named: Named, kind: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        name = named()
        make = getattr(connection, kind)
        async with make(name) as queue:
            await queue.aput("x")
            assert (await queue.aget(timeout=30)).payload == "x"
        queue = await make(name)
        await queue.aput("y")
        assert (await queue.aget(timeout=30)).payload == "y"
        await queue.aclose()


async def test_a_consumer_that_is_awaited_does_not_consume_yet(
    url: str, named: Named
) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue = Queue(named())
        consumer = await connection.aconsumer([queue])
        assert not consumer.consuming_from(queue)
        async with consumer as running:
            assert running is consumer
            assert consumer.consuming_from(queue)
        assert not consumer.consuming_from(queue)
        async with connection.aconsumer([queue]) as running:
            assert running.consuming_from(queue)
        assert not running.consuming_from(queue)


async def test_a_factory_uses_the_channel_that_is_given(url: str, named: Named) -> None:
    async with Connection(url) as one, Connection(url) as other:
        connection: Any = one
        channel = await other.achannel()
        async with connection.asimple_queue(named(), channel=channel) as queue:
            assert queue.channel is channel
            await queue.aput(1)


def _break(connection: Any) -> Any:
    return connection.recoverable_connection_errors[0]("gone")


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_ensure_tries_again_after_a_connection_error(
    url: str, named: Named, colour: str
) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        producer = connection.Producer()
        channel = await producer.achannel()
        name = named()
        failures = [_break(connection)]
        seen: list[Any] = []
        loop_thread = threading.get_ident()

        async def publish(body: Any) -> str:
            assert threading.get_ident() == loop_thread
            if failures:
                raise failures.pop()
            await producer.apublish(body, routing_key=name)
            return "sent"

        def publish_sync(body: Any) -> str:
            if failures:
                raise failures.pop()
            producer.publish(body, routing_key=name)
            return "sent"

        await Queue(name, channel=channel).adeclare()
        ensured = connection.aensure(
            producer,
            publish if colour == "async" else publish_sync,
            errback=lambda exc, interval: seen.append((type(exc), interval)),
            max_retries=3,
            on_revive=lambda channel: seen.append(channel),
        )
        assert await ensured("x") == "sent"
        assert seen[0] == (connection.recoverable_connection_errors[0], 0)
        assert seen[1] is connection.default_channel is producer.channel
        async with connection.asimple_queue(Queue(name)) as queue:
            assert (await queue.aget(timeout=30)).payload == "x"


async def test_ensure_gives_up_as_the_sync_twin_does(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered

        def fail() -> None:
            raise connection.recoverable_connection_errors[0]("no")

        async def afail() -> None:
            fail()

        with pytest.raises(OperationalError) as expected:
            connection.ensure(connection, fail, max_retries=1)()
        for fun in (fail, afail):
            with pytest.raises(OperationalError) as raised:
                await connection.aensure(connection, fun, max_retries=1)()
            assert type(raised.value) is type(expected.value)


async def test_an_ensured_coroutine_is_cancelled_with_its_caller(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        began, ended = asyncio.Event(), asyncio.Event()

        async def hang() -> None:
            began.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        call = asyncio.ensure_future(connection.aensure(connection, hang)())
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(ended.wait(), 30)
        assert await connection.adefault_channel() is not None


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_autoretry_hands_a_channel_over(url: str, colour: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered

        def fun(value: int, channel: Any) -> tuple[int, Any]:
            return value, channel

        async def afun(value: int, channel: Any) -> tuple[int, Any]:
            await asyncio.sleep(0)
            return value, channel

        expected = connection.autoretry(fun)(3)
        retried = connection.aautoretry(fun if colour == "sync" else afun)
        assert await retried(3) == expected
        assert expected[1] is connection.default_channel
