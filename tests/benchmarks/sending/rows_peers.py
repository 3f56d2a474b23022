"""Rows of other task queues, each as its own documentation sends.

Their modules are looked up by name: they need not be installed, and have no stubs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .measure import Sender

if TYPE_CHECKING:
    from .case import Case

__all__ = (
    "aio_celery",
    "arq",
    "saq",
    "streaq",
    "streaq_many",
    "taskiq_amqp",
    "taskiq_list",
    "taskiq_stream",
)

#: Sends at once for libraries that open a connection for each send: 10,000 of them
#: exceed what a server or a process may have open.
_AT_ONCE = 100


def _gated(send: Callable[[int], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def gated(number: int) -> Any:
        async with gate:
            return await send(number)

    return gated


@asynccontextmanager
async def saq(case: Case) -> AsyncIterator[Sender]:
    queue = import_module("saq").Queue.from_url(case.redis, name=case.name)
    await queue.connect()
    text = case.load.text

    async def send(number: int) -> Any:
        return await queue.enqueue("noop", i=number, y=text)

    try:
        yield Sender(send, count=case.counted("LLEN", queue.namespace("queued")))
    finally:
        await queue.disconnect()


@asynccontextmanager
async def _streaq(case: Case) -> AsyncIterator[tuple[Any, Any, Any]]:
    worker = import_module("streaq").Worker(case.redis, queue_name=case.name)

    async def noop(i: int, y: str = "") -> None:
        pass

    task = worker.task()(noop)
    stream = worker.stream_key + worker.priorities[-1]
    async with worker:
        yield worker, task, case.counted("XLEN", stream)


@asynccontextmanager
async def streaq(case: Case) -> AsyncIterator[Sender]:
    text = case.load.text
    async with _streaq(case) as (_, task, count):

        async def send(number: int) -> Any:
            return await task.enqueue(number, y=text)

        yield Sender(send, count=count)


@asynccontextmanager
async def streaq_many(case: Case) -> AsyncIterator[Sender]:
    text = case.load.text
    async with _streaq(case) as (worker, task, count):

        async def many(numbers: Sequence[int]) -> Any:
            made = [task.enqueue(number, y=text) for number in numbers]
            await worker.enqueue_many(made)
            return made

        yield Sender(many=many, count=count)


@asynccontextmanager
async def arq(case: Case) -> AsyncIterator[Sender]:
    connections = import_module("arq.connections")
    settings = connections.RedisSettings(port=case.port)
    pool = await connections.create_pool(settings, default_queue_name=case.name)
    text = case.load.text

    async def send(number: int) -> Any:
        return await pool.enqueue_job("noop", number, y=text)

    try:
        yield Sender(_gated(send), count=case.counted("ZCARD", case.name))
    finally:
        await pool.aclose()


async def _noop(i: int, y: str = "") -> None:
    pass


@asynccontextmanager
async def _taskiq(
    broker: Any, case: Case, count: Callable[[], Awaitable[int]] | None
) -> AsyncIterator[Sender]:
    task = broker.register_task(_noop, task_name="noop")
    await broker.startup()
    text = case.load.text

    async def send(number: int) -> Any:
        return await task.kiq(number, y=text)

    try:
        yield Sender(_gated(send), count=count)
    finally:
        await broker.shutdown()


@asynccontextmanager
async def taskiq_list(case: Case) -> AsyncIterator[Sender]:
    make = import_module("taskiq_redis").ListQueueBroker
    broker = make(case.redis, queue_name=case.name, max_connection_pool_size=_AT_ONCE)
    async with _taskiq(broker, case, case.counted("LLEN", case.name)) as sender:
        yield sender


@asynccontextmanager
async def taskiq_stream(case: Case) -> AsyncIterator[Sender]:
    make = import_module("taskiq_redis").RedisStreamBroker
    broker = make(case.redis, queue_name=case.name, max_connection_pool_size=_AT_ONCE)
    async with _taskiq(broker, case, case.counted("XLEN", case.name)) as sender:
        yield sender


@asynccontextmanager
async def _channel(case: Case) -> AsyncIterator[Any]:
    connection = await import_module("aio_pika").connect(case.amqp)
    async with connection:
        yield await connection.channel()


@asynccontextmanager
async def _amqp_queues(
    case: Case, *names: str
) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Count the messages of the first queue, and delete all of them at the end."""
    async with _channel(case) as channel:

        async def count() -> int:
            found = await channel.declare_queue(names[0], passive=True)
            return int(found.declaration_result.message_count)

        try:
            yield count
        finally:
            for name in names:
                await channel.queue_delete(name)
            await channel.exchange_delete(case.name)


@asynccontextmanager
async def taskiq_amqp(case: Case) -> AsyncIterator[Sender]:
    module = import_module("taskiq_aio_pika")
    dead = f"{case.name}.dead"
    broker = module.AioPikaBroker(
        case.amqp,
        exchange=module.Exchange(name=case.name),
        task_queues=[module.Queue(name=case.name)],
        dead_letter_queue=module.Queue(name=dead),
    )
    async with (
        _amqp_queues(case, case.name, dead) as count,
        _taskiq(broker, case, count) as sender,
    ):
        yield sender


@asynccontextmanager
async def aio_celery(case: Case) -> AsyncIterator[Sender]:
    app = import_module("aio_celery").Celery("bench")
    app.conf.update(broker_url=case.amqp, task_default_queue=case.name)
    task = app.task(name="noop", ignore_result=True)(_noop)
    text = case.load.text

    async def send(number: int) -> Any:
        return await task.delay(number, y=text)

    async with _amqp_queues(case, case.name) as count, app.setup():
        yield Sender(send, count=count)
