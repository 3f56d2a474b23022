"""The ways to consume that are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..record import quantile
from . import floor

if TYPE_CHECKING:
    from .loads import Load

__all__ = ("ROWS", "Row")

Figures = dict[str, Any]
_WAIT = 60
#: The prefetch limit of `async for`.
_AHEAD = 64


@dataclass(frozen=True)
class Row:
    """One way.

    Attributes:
        name: what the command line calls it.
        label: what the table calls it.
        run: runs one load against a server's URL; it calls `begin()` when what is
            counted begins and `end()` after it, and may return more figures.
        kinds: the loads that it knows.
        schemes: the brokers that it knows.
    """

    name: str
    label: str
    run: Callable[[Load, str, Callable[[], None], Callable[[], None]], Figures]
    kinds: tuple[str, ...]
    schemes: tuple[str, ...] = ("redis", "memory", "embedded")

    def does(self, load: Load) -> bool:
        """Whether it knows a load."""
        return load.kind in self.kinds and load.scheme in self.schemes


def _queue(name: str) -> Any:
    import kombu

    return kombu.Queue(name, kombu.Exchange(""), name)


def _acks() -> tuple[list[Any], Callable[[Any, Any], None]]:
    found: list[Any] = []

    def receive(body: Any, message: Any) -> None:
        found.append(body)
        message.ack()

    return found, receive


def _sync(load: Load, url: str, begin: Any, end: Any) -> Figures:
    import kombu

    with kombu.Connection(url) as connection:
        if load.kind == "pingpong":
            took = []
            with connection.SimpleQueue("pingpong") as simple:
                begin()
                for number in range(load.count):
                    began = time.perf_counter()
                    simple.put(number)
                    simple.get(timeout=_WAIT).ack()
                    took.append(time.perf_counter() - began)
                end()
            return {"p50": quantile(took, 0.5)}
        found, receive = _acks()
        consumers = []
        for name in load.queues:
            consumer = connection.Consumer(
                [_queue(name)], channel=connection.channel(), callbacks=[receive]
            )
            consumer.consume()
            consumers.append(consumer)
        begin()
        while len(found) < load.count:
            connection.drain_events(timeout=_WAIT)
        end()
        for consumer in consumers:
            consumer.cancel()
    return {}


async def _pingpong(connection: Any, load: Load, begin: Any, end: Any) -> Figures:
    took = []
    async with connection.asimple_queue("pingpong") as simple:
        begin()
        for number in range(load.count):
            began = time.perf_counter()
            await simple.aput(number)
            await (await simple.aget(timeout=_WAIT)).aack()
            took.append(time.perf_counter() - began)
        end()
    return {"p50": quantile(took, 0.5)}


async def _idle(connection: Any, load: Load, url: str) -> Figures:
    import kombu

    found, receive = _acks()
    async with connection.aconsumer([_queue("idle")], callbacks=[receive]):
        wait = asyncio.ensure_future(connection.adrain_events())
        await asyncio.sleep(0.5)
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(load.count)
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
        wakes = []
        with kombu.Connection(url) as other:
            producer = other.Producer()
            for number in range(20):
                producer.publish(number, exchange="", routing_key="idle")
                began = time.perf_counter()
                await wait
                wakes.append(time.perf_counter() - began)
                wait = asyncio.ensure_future(connection.adrain_events())
                await asyncio.sleep(0.02)
        wait.cancel()
        await asyncio.wait([wait])
    if len(found) != len(wakes):
        raise RuntimeError(f"{len(found)} of {len(wakes)} messages")
    return {"share": share, "wake": quantile(wakes, 0.5)}


def _ours(load: Load, url: str, begin: Any, end: Any, *, aack: bool) -> Figures:
    import kombu

    import celery_async_bridge

    celery_async_bridge.install()

    async def main() -> Figures:
        made: Any = kombu.Connection(url)
        async with made as connection:
            if load.kind == "pingpong":
                return await _pingpong(connection, load, begin, end)
            if load.kind == "idle":
                return await _idle(connection, load, url)
            found, receive = _acks()
            messages: list[Any] = []

            def keep(body: Any, message: Any) -> None:
                found.append(body)
                messages.append(message)

            for name in load.queues:
                consumer = await connection.aconsumer(
                    [_queue(name)],
                    channel=await connection.achannel(),
                    callbacks=[keep if aack else receive],
                )
                await consumer.aconsume()
            begin()
            while len(found) < load.count:
                await connection.adrain_events(timeout=_WAIT)
                if aack:
                    await messages.pop().aack()
            end()
        return {}

    return asyncio.run(main())


def _callbacks(load: Load, url: str, begin: Any, end: Any) -> Figures:
    return _ours(load, url, begin, end, aack=False)


def _iterates(load: Load, url: str, begin: Any, end: Any) -> Figures:
    return _ours(load, url, begin, end, aack=True)


def _loops(load: Load, url: str, begin: Any, end: Any) -> Figures:
    import kombu

    import celery_async_bridge

    celery_async_bridge.install()

    async def main() -> None:
        made: Any = kombu.Connection(url)
        async with made as connection:
            queues = [_queue(name) for name in load.queues]
            consumer = await connection.aconsumer(queues, prefetch_count=_AHEAD)
            left = load.count
            begin()
            async for message in consumer:
                await message.aack()
                left -= 1
                if not left:
                    break
            end()

    asyncio.run(main())
    return {}


def _floor(
    load: Load, url: str, begin: Any, end: Any, *, singly: bool = False
) -> Figures:
    port = int(url.rpartition(":")[2].partition("/")[0])
    each = load.count // load.consumers

    async def main() -> None:
        for name in load.queues:
            await floor.drain(port, name, each, singly=singly)

    begin()
    asyncio.run(main())
    end()
    return {}


def _floor_acks(load: Load, url: str, begin: Any, end: Any) -> Figures:
    return _floor(load, url, begin, end, singly=True)


#: In the order of the tables.
ROWS = {
    row.name: row
    for row in (
        Row("floor", "a bare loop", _floor, ("drain",), ("redis",)),
        Row(
            "floor-acks",
            "a bare loop that awaits each ack",
            _floor_acks,
            ("drain",),
            ("redis",),
        ),
        Row(
            "callbacks",
            "adrain_events, ack in callbacks",
            _callbacks,
            ("drain", "pingpong", "idle"),
        ),
        Row("iterates", "adrain_events, await aack", _iterates, ("drain",)),
        Row("loops", "async for, await aack", _loops, ("drain",)),
        Row("sync", "drain_events", _sync, ("drain", "pingpong")),
    )
}
