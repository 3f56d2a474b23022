"""The apps of other task queues; a worker process and the row that waits make the same.

    python -m tests.benchmarks.waiting.peers KIND PORT QUEUE [AMQP]

runs the worker of one, in one process. Their modules are looked up by name: they need
not be installed, and have no stubs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any

from .stock import ANSWER

__all__ = ("WORKERS", "aio_celery_app", "main", "saq_queue", "taskiq_broker")

#: Tasks at once; not for saq, which loses jobs with more than its ten.
_AT_ONCE = 100


def _ready() -> None:
    print("ready", flush=True)


def saq_queue(port: int, queue: str) -> Any:
    """A queue of saq in Redis."""
    redis = import_module("redis.asyncio").Redis.from_url(
        # redis-py 8 lets a pool have a hundred; a worker blocks one for each task.
        f"redis://127.0.0.1:{port}/0",
        max_connections=10 * _AT_ONCE,
    )
    return import_module("saq.queue.redis").RedisQueue(redis, name=queue)


async def _saq(port: int, queue: str, amqp: str) -> None:
    async def noop(ctx: Any, *, i: int) -> int:
        return ANSWER

    async def startup(ctx: Any) -> None:
        _ready()

    made = saq_queue(port, queue)
    await made.connect()
    worker = import_module("saq").Worker(made, [("noop", noop)], startup=startup)
    await worker.start()


def taskiq_broker(port: int, queue: str) -> tuple[Any, Any]:
    """A broker of taskiq, a list in Redis, with results there; and its task."""
    module, url = import_module("taskiq_redis"), f"redis://127.0.0.1:{port}/0"
    results = module.RedisAsyncResultBackend(url, result_ex_time=3600)
    broker = module.ListQueueBroker(
        url, queue_name=queue, max_connection_pool_size=2 * _AT_ONCE
    ).with_result_backend(results)

    async def noop(i: int) -> int:
        return ANSWER

    return broker, broker.register_task(noop, task_name="noop")


async def _taskiq(port: int, queue: str, amqp: str) -> None:
    broker, _ = taskiq_broker(port, queue)
    # Told by the broker: before that its events are not those of a worker.
    broker.is_worker_process = True
    await broker.startup()
    _ready()
    await import_module("taskiq.api").run_receiver_task(
        broker, max_async_tasks=_AT_ONCE
    )


def aio_celery_app(port: int, queue: str, amqp: str) -> tuple[Any, Any]:
    """An app of aio-celery, and its task."""
    app = import_module("aio_celery").Celery("bench")
    app.conf.update(
        broker_url=amqp,
        result_backend=f"redis://127.0.0.1:{port}/0",
        task_default_queue=queue,
    )

    async def noop(i: int) -> int:
        return ANSWER

    return app, app.task(name="noop")(noop)


async def _aio_celery(port: int, queue: str, amqp: str) -> None:
    app, _ = aio_celery_app(port, queue, amqp)

    async def context() -> AsyncIterator[None]:
        _ready()
        yield

    app.define_app_context(asynccontextmanager(context))
    worker: Any = import_module("aio_celery.worker")
    # It takes the name of a module only.
    worker._find_app_instance = lambda _: app
    worker._print_intro = lambda *_: None
    options = argparse.Namespace(
        configure_logging=False,
        loglevel="ERROR",
        app="",
        queues=None,
        concurrency=_AT_ONCE,
    )
    await worker.run(options)


#: Runs the worker of one.
WORKERS: dict[str, Callable[[int, str, str], Awaitable[None]]] = {
    "saq": _saq,
    "taskiq": _taskiq,
    "aio-celery": _aio_celery,
}


def main() -> None:
    """Run a worker until somebody ends it."""
    kind, port, queue, amqp = sys.argv[1:5]
    with suppress(KeyboardInterrupt):
        asyncio.run(WORKERS[kind](int(port), queue, amqp))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
