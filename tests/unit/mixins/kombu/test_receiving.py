"""Callbacks that are coroutine functions."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any

import kombu
import pytest

from tests.unit.core.help import until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
Named = Callable[..., str]


class Work:
    """An async callback that ends when it is told."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.cancelled: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}

    async def __call__(self, body: Any, message: Any) -> None:
        self.begun.append(body)
        gate = self.gates.setdefault(body, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(body)
            raise
        await message.aack()
        self.ended.append(body)

    def end(self, *bodies: Any) -> None:
        for body in bodies:
            self.gates[body].set()


async def send(connection: Any, name: str, *bodies: Any) -> None:
    producer = connection.Producer()
    for body in bodies:
        await producer.apublish(body, routing_key=name)


async def begin(connection: Any, work: Work) -> None:
    """Have a callback begun, and wait no longer."""
    wait = asyncio.ensure_future(connection.adrain_events())
    await until(lambda: work.begun)
    wait.cancel()
    await asyncio.wait({wait})


async def test_one_at_a_time_without_a_limit(url: str, named: Named) -> None:
    name, work = named(), Work()
    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[work])
        async with consumer:
            await send(other, name, 1, 2)
            first = asyncio.ensure_future(one.adrain_events())
            await until(lambda: work.begun)
            assert not first.done()
            work.end(1)
            await asyncio.wait_for(first, 30)
            # When it returns the callback has come to its end.
            assert (work.begun, work.ended) == ([1], [1])
            second = asyncio.ensure_future(one.adrain_events(timeout=30))
            await until(lambda: len(work.begun) == 2)
            work.end(2)
            await second
    assert work.ended == [1, 2]


async def test_as_many_at_once_as_the_limit_says(url: str, named: Named) -> None:
    name, work = named(), Work()
    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[work], prefetch_count=3)
        async with consumer:
            await send(other, name, *range(5))
            first = asyncio.ensure_future(one.adrain_events(timeout=30))
            await until(lambda: len(work.begun) == 3)
            work.end(1)
            await asyncio.wait_for(first, 30)
            assert work.ended == [1]
            for _ in range(4):
                wait = asyncio.ensure_future(one.adrain_events(timeout=30))
                await until(lambda: len(work.begun) > len(work.ended))
                work.end(min(set(work.begun) - set(work.ended)))
                await asyncio.wait_for(wait, 30)
            assert sorted(work.ended) == list(range(5))
            with pytest.raises(TimeoutError):
                await one.adrain_events(timeout=0.1)


async def test_an_early_ack_does_not_exceed_the_limit(url: str, named: Named) -> None:
    name, work = named(), Work()

    async def early(body: Any, message: Any) -> None:
        await message.aack()
        work.begun.append(body)
        await work.gates.setdefault(body, asyncio.Event()).wait()

    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[early], prefetch_count=2)
        async with consumer:
            await send(other, name, 1, 2, 3)
            wait = asyncio.ensure_future(one.adrain_events(timeout=30))
            await until(lambda: len(work.begun) == 2)
            await asyncio.sleep(0.05)
            assert work.begun == [1, 2]
            work.end(2)
            await wait
            last = asyncio.ensure_future(one.adrain_events(timeout=30))
            await until(lambda: work.begun == [1, 2, 3])
            work.end(1, 3)
            await last


async def test_an_exception_ends_the_wait_and_leaves_the_message(
    url: str, named: Named
) -> None:
    name, kept = named(), []

    async def bad(body: Any, message: Any) -> None:
        kept.append(message)
        await asyncio.sleep(0)
        raise LookupError(body)

    for limit in (1, 5):
        async with Connection(url) as one, Connection(url) as other:
            consumer = one.Consumer(
                [Queue(name)], callbacks=[bad], prefetch_count=limit
            )
            async with consumer:
                # The wait has begun when the callback fails, and has no other end.
                wait = asyncio.ensure_future(one.adrain_events())
                await send(other, name, limit)
                with pytest.raises(LookupError, match=str(limit)):
                    await asyncio.wait_for(wait, 30)
                message = kept.pop()
                assert not message.acknowledged
                await message.arequeue()
                consumer.callbacks[:] = [_take(kept)]
                while not kept:
                    await one.adrain_events(timeout=30)
                assert kept.pop().payload == limit


def _take(kept: list[Any]) -> Any:
    async def take(body: Any, message: Any) -> None:
        await message.aack()
        kept.append(message)

    return take


async def test_leaving_waits_and_raises(url: str, named: Named) -> None:
    name, work = named(), Work()

    async def bad(body: Any, message: Any) -> None:
        await work(body, message)
        raise LookupError(body)

    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[bad], prefetch_count=5)
        await consumer.__aenter__()
        await send(other, name, 1)
        await begin(one, work)
        assert (work.begun, work.ended) == ([1], [])
        leaving = asyncio.ensure_future(consumer.__aexit__(None, None, None))
        await until(lambda: not consumer._active_tags)
        assert not leaving.done()
        work.end(1)
        with pytest.raises(LookupError, match="1"):
            await asyncio.wait_for(leaving, 30)
        assert work.ended == [1]
        assert not consumer._active_tags


async def test_leaving_with_an_exception_cancels(url: str, named: Named) -> None:
    name, work = named(), Work()
    async with Connection(url) as one, Connection(url) as other:
        consumer = one.Consumer([Queue(name)], callbacks=[work], prefetch_count=5)
        await consumer.__aenter__()
        await send(other, name, 1)
        await begin(one, work)
        error = ZeroDivisionError()
        await consumer.__aexit__(type(error), error, None)
        assert work.cancelled == [1]


async def test_a_failure_that_nobody_is_told_is_logged(
    url: str, named: Named, caplog: pytest.LogCaptureFixture
) -> None:
    name, failed = named(), asyncio.Event()

    async def bad(body: Any, message: Any) -> None:
        failed.set()
        await message.aack()
        raise LookupError(body)

    one = Connection(url)
    async with Connection(url) as other:
        await one.aconnect()
        consumer = one.Consumer([Queue(name)], callbacks=[bad], prefetch_count=5)
        await consumer.aconsume()
        await send(other, name, 1)
        wait = asyncio.ensure_future(one.adrain_events())
        await failed.wait()
        wait.cancel()
        await asyncio.wait({wait})
        crew = vars(one)["_bridge_crew"]
        await until(lambda: not crew.count())
        if wait.cancelled():
            with caplog.at_level(logging.ERROR):
                crew.__del__()
            assert "LookupError" in caplog.text
        crew.failures.clear()
        await consumer.acancel()
        await one.aclose()


async def test_callbacks_in_order_in_the_callers_context(
    url: str, named: Named
) -> None:
    name = named()
    seen: list[Any] = []
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="")

    async def first(body: Any, message: Any) -> None:
        await asyncio.sleep(0)
        seen.append(("first", body, where.get(), asyncio.get_running_loop()))

    def second(body: Any, message: Any) -> None:
        seen.append(("second", body, where.get(), None))

    async def third(body: Any, message: Any) -> None:
        await message.aack()
        seen.append(("third", body, where.get(), asyncio.get_running_loop()))

    loop = asyncio.get_running_loop()
    where.set("here")
    for limit in (1, 4):
        async with Connection(url) as one, Connection(url) as other:
            callbacks = [first, second, third]
            consumer = one.Consumer(
                [Queue(name)], callbacks=callbacks, prefetch_count=limit
            )
            async with consumer:
                assert consumer.callbacks is callbacks
                await send(other, name, limit)
                while len(seen) < 3:
                    await one.adrain_events(timeout=30)
        assert seen == [
            ("first", limit, "here", loop),
            ("second", limit, "here", None),
            ("third", limit, "here", loop),
        ]
        seen.clear()


async def test_on_message_and_on_decode_error_may_be_async(
    url: str, named: Named
) -> None:
    name, seen = named(), []

    async def on_message(message: Any) -> None:
        await message.aack()
        seen.append(message.payload)

    async def on_decode_error(message: Any, exc: BaseException) -> None:
        await message.areject()
        seen.append(type(exc).__name__)

    async with Connection(url) as one, Connection(url) as other:
        async with one.Consumer([Queue(name)], on_message=on_message):
            await send(other, name, 1)
            while not seen:
                await one.adrain_events(timeout=30)
        consumer = one.Consumer(
            [Queue(name)],
            callbacks=[_take([])],
            on_decode_error=on_decode_error,
            accept=["json"],
        )
        async with consumer:
            await other.Producer().apublish({1}, routing_key=name, serializer="pickle")
            while len(seen) < 2:
                await one.adrain_events(timeout=30)
    assert seen == [1, "ContentDisallowed"]


async def test_program_with_async_callbacks(url: str, named: Named) -> None:
    name, work = named(), Work()

    class Program(kombu.mixins.ConsumerMixin):  # type: ignore[misc, name-defined]
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
            queue = Queue(name)
            return [Consumer([queue], callbacks=[work], prefetch_count=2)]

    async with Connection(url) as other:
        await Queue(name)(other).adeclare()
        program: Any = Program(other)
        running = asyncio.ensure_future(program.arun())
        await send(other, name, 1)
        await until(lambda: work.begun == [1])
        await send(other, name, 2, 3)
        await until(lambda: work.begun == [1, 2])
        work.end(2)
        await until(lambda: work.begun == [1, 2, 3])
        program.should_stop = True
        work.end(1, 3)
        await asyncio.wait_for(running, 30)
        assert sorted(work.ended) == [1, 2, 3]

        async def bad(body: Any, message: Any) -> None:
            await message.aack()
            raise LookupError(body)

        program.should_stop = False
        program.get_consumers = lambda Consumer, channel: [
            Consumer([Queue(name)], callbacks=[bad], prefetch_count=2)
        ]
        running = asyncio.ensure_future(program.arun())
        await send(other, name, 4)
        with pytest.raises(LookupError, match="4"):
            await asyncio.wait_for(running, 30)
