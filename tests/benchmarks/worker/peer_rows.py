"""Workers of other task queues and of Celery, each as its own documentation starts it.

Each function fills a queue with `case.tasks` tasks and runs a worker in this process;
the last task ends it. Modules are looked up by name: they need not be installed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .tally import Tally

__all__ = ("ROWS", "Case", "PeerRow", "start")


@dataclass(frozen=True)
class Case:
    """What a worker is to run, and on which servers.

    Arguments:
        redis: URL of a Redis server.
        amqp: URL of a RabbitMQ.
        name: of the queue.
        tasks: how many.
        seconds: that each of them sleeps.
        concurrency: how many run at once.
    """

    redis: str
    amqp: str
    name: str
    tasks: int
    seconds: float
    concurrency: int

    def body(self) -> Callable[..., Any]:
        """Return a coroutine function that is counted."""
        tally, seconds = self._tally(), self.seconds

        async def nap(*_: Any) -> None:
            tally.begin()
            if seconds:
                await asyncio.sleep(seconds)
            tally.end()

        return nap

    def sync_body(self) -> Callable[[], None]:
        """Return a function that is counted."""
        tally, seconds = self._tally(), self.seconds

        def nap() -> None:
            tally.begin()
            if seconds:
                time.sleep(seconds)
            tally.end()

        return nap

    def _tally(self) -> Tally:
        return Tally(self.tasks, min(self.concurrency, self.tasks))


@dataclass(frozen=True)
class PeerRow:
    """A worker.

    Arguments:
        run: starts it, and does not return.
        needs: the modules that it is made of.
        broker: the kind of its broker.
    """

    run: Callable[[Case], Any]
    needs: tuple[str, ...]
    broker: str = "Redis"


def _celery(case: Case, pool: str, broker: str, body: Callable[..., Any]) -> None:
    app = import_module("celery").Celery("bench", broker=broker)
    app.conf.update(
        task_default_queue=case.name,
        task_ignore_result=True,
        control_exchange=f"{case.name}.control",
        worker_hijack_root_logger=False,
    )
    nap = app.task(body, name="nap", shared=False)
    for _ in range(case.tasks):
        nap.delay()
    quiet = (
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-l",
        "ERROR",
    )
    app.worker_main(["worker", "-P", pool, "-c", str(case.concurrency), *quiet])


def ours(case: Case) -> None:
    import_module("celery_async_bridge").install()
    _celery(case, "asyncio", case.redis, case.body())


def ours_amqp(case: Case) -> None:
    import_module("celery_async_bridge").install()
    _celery(case, "asyncio", case.amqp, case.body())


def threads(case: Case) -> None:
    _celery(case, "threads", case.redis, case.sync_body())


def gevent(case: Case) -> None:
    import_module("gevent.monkey").patch_all()
    _celery(case, "gevent", case.redis, case.sync_body())


async def aio_celery(case: Case) -> None:
    app = import_module("aio_celery").Celery("bench")
    app.conf.update(broker_url=case.amqp, task_default_queue=case.name)
    nap = app.task(name="nap", ignore_result=True)(case.body())
    async with app.setup():
        for _ in range(case.tasks):
            await nap.delay()
    worker = import_module("aio_celery.worker")
    vars(worker)["_find_app_instance"] = lambda _: app
    options = {"app": "", "queues": "", "concurrency": case.concurrency}
    quiet = {"configure_logging": False, "loglevel": "ERROR"}
    await worker.run(Namespace(**options, **quiet))


async def taskiq(case: Case) -> None:
    broker = import_module("taskiq_redis").ListQueueBroker(
        case.redis, queue_name=case.name
    )
    nap = broker.register_task(case.body(), task_name="nap")
    await broker.startup()
    for _ in range(case.tasks):
        await nap.kiq()
    receive = import_module("taskiq.api").run_receiver_task
    await receive(broker, max_async_tasks=case.concurrency)


async def saq(case: Case) -> None:
    module = import_module("saq")
    queue = module.Queue.from_url(case.redis, name=case.name)
    await queue.connect()
    for _ in range(case.tasks):
        await queue.enqueue("nap", ttl=1)
    functions = [("nap", case.body())]
    worker = module.Worker(queue, functions=functions, concurrency=case.concurrency)
    await worker.start()


async def arq(case: Case) -> None:
    connections = import_module("arq.connections")
    settings = connections.RedisSettings.from_dsn(case.redis)
    pool = await connections.create_pool(settings, default_queue_name=case.name)
    for _ in range(case.tasks):
        await pool.enqueue_job("nap")
    module = import_module("arq.worker")
    worker = module.Worker(
        functions=[module.func(case.body(), name="nap", keep_result=0)],
        redis_settings=settings,
        queue_name=case.name,
        max_jobs=case.concurrency,
        poll_delay=0.05,
        handle_signals=False,
    )
    await worker.async_run()


async def streaq(case: Case) -> None:
    worker = import_module("streaq").Worker(
        case.redis, queue_name=case.name, concurrency=case.concurrency
    )
    nap = worker.task(name="nap", ttl=0)(case.body())
    async with worker:
        await worker.enqueue_many([nap.enqueue() for _ in range(case.tasks)])
    await worker.run_async()


ROWS = {
    "ours": PeerRow(ours, ("celery_async_bridge",)),
    "ours-amqp": PeerRow(ours_amqp, ("celery_async_bridge",), "RabbitMQ"),
    "celery-threads": PeerRow(threads, ("celery",)),
    "celery-gevent": PeerRow(gevent, ("celery", "gevent")),
    "aio-celery": PeerRow(aio_celery, ("aio_celery",), "RabbitMQ"),
    "taskiq": PeerRow(taskiq, ("taskiq", "taskiq_redis")),
    "saq": PeerRow(saq, ("saq",)),
    "arq": PeerRow(arq, ("arq",)),
    "streaq": PeerRow(streaq, ("streaq",)),
}


def start(name: str, case: Case) -> None:
    """Run a worker in this process until its last task ends it."""
    logging.disable(logging.ERROR)
    found = ROWS[name].run(case)
    if asyncio.iscoroutine(found):
        asyncio.run(found)
