from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from kombu import Exchange, Queue, common
from kombu.exceptions import OperationalError

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Named = Callable[..., str]
twins: Any = common


async def _fill(connection: Any, name: str, count: int) -> Queue:
    queue: Any = Queue(name)(await connection.achannel())
    await queue.adeclare()
    for number in range(count):
        await connection.Producer().apublish(number, routing_key=name)
    return Queue(name)


async def test_maybe_declare(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        channel = await connection.achannel()
        for retry in (False, True):
            queue = Queue(named(str(retry)), Exchange(""))
            declare = twins.amaybe_declare
            assert await declare(queue, channel, retry=retry) is True
            assert await declare(queue(channel), None, retry) is False
            assert common.maybe_declare(queue, channel, retry=retry) is False
        with pytest.raises(Exception) as expected:  # noqa: PT011 - any
            common.maybe_declare(Queue("q"))
        with pytest.raises(type(expected.value)):
            await twins.amaybe_declare(Queue("q"))


async def test_draining_a_consumer(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue = await _fill(connection, named(), 3)
        consumer = await connection.aconsumer([queue], no_ack=True)
        seen: list[Any] = []
        got = [
            (body, message.payload)
            async for body, message in twins.adrain_consumer(
                consumer, limit=3, timeout=30, callbacks=[lambda b, m: seen.append(b)]
            )
        ]
        assert got == [(0, 0), (1, 1), (2, 2)]
        assert seen == [0, 1, 2]
        assert not consumer.consuming_from(queue)


async def test_leaving_an_iteration_cancels_the_consumer(
    url: str, named: Named
) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue = await _fill(connection, named(), 2)
        consumer = await connection.aconsumer([queue])
        messages = twins.adrain_consumer(consumer, limit=0, timeout=30)
        async for body, message in messages:
            await message.aack()
            assert body == 0
            assert consumer.consuming_from(queue)
            break
        await messages.aclose()
        assert not consumer.consuming_from(queue)


async def test_iterating_over_messages(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue = await _fill(connection, named(), 2)
        channel = await connection.achannel()
        got = [
            body
            async for body, message in twins.aitermessages(
                connection, channel, queue, limit=2, timeout=30, no_ack=True
            )
        ]
        assert got == [0, 1]


async def test_a_waiting_iteration_can_be_cancelled(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue = await _fill(connection, named(), 0)
        channel = await connection.achannel()

        async def consume() -> None:
            async for _ in twins.aitermessages(connection, channel, queue, limit=0):
                pass

        task = asyncio.ensure_future(consume())
        await asyncio.sleep(0.15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Nobody consumes any more: the message stays for another one.
        await connection.Producer().apublish("x", routing_key=queue.name)
        async with connection.asimple_queue(queue, no_ack=True) as simple:
            assert (await simple.aget(timeout=30)).payload == "x"


async def test_the_event_loop_of_kombu(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        with pytest.raises(socket.timeout):
            list(common.eventloop(connection, limit=1, timeout=0.01))
        with pytest.raises(socket.timeout):
            async for _ in twins.aeventloop(connection, limit=1, timeout=0.01):
                pass
        rounds = [
            event
            async for event in twins.aeventloop(
                connection, limit=2, timeout=0.01, ignore_timeouts=True
            )
        ]
        assert rounds == []


async def test_replies(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        channel = await connection.achannel()
        channel.after_reply_message_received = lambda name: ended.append(name)
        ended: list[str] = []
        exchange, name = Exchange(named("e")), named("reply")
        queue: Any = Queue(name, exchange, name)
        await queue(channel).adeclare()
        request = SimpleNamespace(
            properties={"reply_to": name, "correlation_id": "c"},
            content_type="application/json",
            content_encoding="utf-8",
        )
        producer = connection.Producer()
        for number in range(2):
            await twins.asend_reply(exchange, request, {"n": number}, producer)
        common.send_reply(exchange, request, {"n": 2}, producer, retry=True)
        await twins.asend_reply(exchange, request, {"n": 3}, producer, retry=True)
        got = [
            body["n"]
            async for body in twins.acollect_replies(
                connection, channel, queue, limit=4, timeout=30
            )
        ]
        assert got == [0, 1, 2, 3]
        assert ended == [name]


async def test_errors_are_ignored(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        error = connection.connection_errors[0]

        def fail(value: Any = "no") -> None:
            raise error(value)

        async def afail() -> None:
            raise error("no")

        async def fine(value: int, *, other: int) -> int:
            return value + other

        # What upstream returns after an error is an unused context manager.
        expected = type(common.ignore_errors(connection, fail, "x"))
        assert type(await twins.aignore_errors(connection, fail, "x")) is expected
        assert type(await twins.aignore_errors(connection, afail)) is expected
        assert await twins.aignore_errors(connection, fine, 1, other=2) == 3
        async with twins.aignore_errors(connection):
            await afail()
        with pytest.raises(ZeroDivisionError):
            async with twins.aignore_errors(connection):
                raise ZeroDivisionError
        with pytest.raises(TypeError):
            await twins.aignore_errors(connection)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_insured(url: str, colour: str) -> None:
    pool: Any = Connection(url).Pool(limit=1)
    failures = [True]
    seen: list[Any] = []

    def work(value: int, channel: Any, connection: Any) -> Any:
        assert connection.default_channel is channel
        if failures:
            failures.pop()
            raise connection.recoverable_connection_errors[0]("gone")
        return value, type(connection)

    async def awork(value: int, channel: Any, connection: Any) -> Any:
        return work(value, channel, connection)

    result = await twins.ainsured(
        pool,
        work if colour == "sync" else awork,
        (7,),
        {},
        errback=lambda exc, interval: seen.append(interval),
        on_revive=lambda channel: seen.append(channel),
        max_retries=2,
    )
    assert result == (7, common.insured(pool, work, (7,), {})[1])
    assert len(seen) == 2
    assert not pool._dirty
    pool.force_close_all()


async def test_insured_gives_the_connection_back(url: str) -> None:
    pool: Any = Connection(url).Pool(limit=1)

    def fail(**kwargs: Any) -> None:
        raise kwargs["connection"].recoverable_connection_errors[0]("no")

    with pytest.raises(OperationalError):
        await twins.ainsured(pool, fail, (), {}, max_retries=0)
    assert not pool._dirty
    began = asyncio.Event()

    async def hang(**kwargs: Any) -> None:
        began.set()
        await asyncio.sleep(60)

    task = asyncio.ensure_future(twins.ainsured(pool, hang, (), {}))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pool._dirty
    pool.force_close_all()


async def test_reviving_a_connection() -> None:
    seen: list[Any] = []

    async def on_revive(channel: Any) -> None:
        seen.append(channel)

    connection = Connection("memory://")
    assert await twins.arevive_connection(connection, "c", on_revive) is None
    await twins.arevive_connection(connection, "c")
    assert seen == ["c"]


async def test_prefetch_counts(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        consumer = await connection.aconsumer([Queue(named())])
        qos: Any = common.QoS(consumer.qos, 3)
        assert await qos.aupdate() == 3
        assert await qos.aset(5) == 5 == qos.set(5)
        assert qos.prev == 5
        plain: Any = common.QoS(lambda **options: consumer.qos(**options), 1)
        assert await plain.aset(2) == 2
