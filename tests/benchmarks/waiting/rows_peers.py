"""Rows of other task queues, each with a worker of its own, as they wait by themselves.

All of them look again and again; how often is their default.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .measure import WITHIN, Traveller
from .peers import aio_celery_app, saq_queue, taskiq_broker
from .stock import ANSWER
from .workers import process

if TYPE_CHECKING:
    from .case import Case

__all__ = ("aio_celery", "saq", "taskiq")


@contextmanager
def _worker(kind: str, case: Case, queue: str) -> Iterator[None]:
    words = [sys.executable, "-m", f"{__package__}.peers", kind, str(case.port)]
    with process([*words, queue, case.amqp]):
        yield


def _check(found: Any) -> None:
    if found != ANSWER:
        raise RuntimeError(f"{found!r} is not the result")


@asynccontextmanager
async def saq(case: Case) -> AsyncIterator[Traveller]:
    """`apply`: enqueue, then look every half second."""
    name = f"{case.queue}-saq"
    queue = saq_queue(case.port, name)
    await queue.connect()

    async def trip(number: int) -> None:
        _check(await queue.apply("noop", timeout=WITHIN, i=number))

    try:
        with _worker("saq", case, name):
            # When it begins it sweeps, and aborts what is under way.
            await asyncio.sleep(3)
            yield Traveller(trip)
    finally:
        await queue.disconnect()


@asynccontextmanager
async def taskiq(case: Case) -> AsyncIterator[Traveller]:
    """`kiq`, then look five times a second."""
    name = f"{case.queue}-taskiq"
    broker, noop = taskiq_broker(case.port, name)
    await broker.startup()

    async def trip(number: int) -> None:
        task = await noop.kiq(number)
        _check((await task.wait_result(timeout=WITHIN)).return_value)

    try:
        with _worker("taskiq", case, name):
            yield Traveller(trip)
    finally:
        await broker.shutdown()


@asynccontextmanager
async def aio_celery(case: Case) -> AsyncIterator[Traveller]:
    """`delay` over RabbitMQ, then look into Redis every half second."""
    name = f"{case.queue}-{case.port}-aio-celery"
    app, noop = aio_celery_app(case.port, name, case.amqp)

    async def trip(number: int) -> None:
        result = await noop.delay(number)
        _check(await result.get(timeout=WITHIN))

    try:
        with _worker("aio-celery", case, name):
            async with app.setup():
                yield Traveller(trip)
    finally:
        connection = await import_module("aio_pika").connect(case.amqp)
        async with connection:
            channel = await connection.channel()
            await channel.queue_delete(name)
