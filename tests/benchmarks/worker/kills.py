"""Workers are killed while they run tasks that are acknowledged late: what is lost?

    python -m tests.benchmarks.worker.kills [--kills 50] [--pool POOL] BROKER BACKEND

The workers are killed with SIGKILL, each after a random time; then one is left alone
until every task has left its line, or none leaves one any more. With another pool than
`asyncio` it is stock Celery: sync tasks, and the bridge switched off.

What a killed worker held comes back at once from RabbitMQ, and from Redis when its
visibility timeout has passed. Kombu's own consumer takes a message out of a Redis list
before it notes it, so with stock pools a kill may lose the one that is in between.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.interop.processes import environment, forget, stock_worker
from tests.interop.worker.pool_app import make_app

MODULE = "tests.interop.worker.pool_app"
#: Seconds without a line after which the rest is lost.
_QUIET = 60.0
#: For Redis: so that the wait for what comes back is short.
_BACK = {
    "visibility_timeout": 10,
    "unacked_mutex_expire": 2,
    "unacked_restore_limit": 1000,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}


@dataclass
class Run:
    """One experiment."""

    app: Any
    pool: str
    env: dict[str, str]
    home: Path

    @property
    def record(self) -> Path:
        """A line for each execution."""
        return self.home / "record"

    @property
    def task(self) -> Any:
        """A task that the pool can run."""
        name = "pool.late" if self.pool == "asyncio" else "sync.late"
        return self.app.tasks[name]

    def worker(self, many: int) -> Any:
        """Run a worker until the block ends."""
        return stock_worker(
            self.app,
            self.pool,
            self.env,
            self.home / "log",
            module=MODULE,
            options=("-c", str(many)),
        )

    def done(self) -> Counter[str]:
        """Count the executions of each task."""
        return Counter(self.record.read_text().split())

    def kill_one(self) -> None:
        """Start a worker and kill it, with the processes of its pool."""
        with self.worker(10) as process:
            time.sleep(random.uniform(0, 1))
            for pid in (process.pid, *_children(process.pid)):
                _kill(pid)
            process.wait()

    def settle(self, tasks: int) -> None:
        """Wait until every task has left its line, or nothing happens any more."""
        size, since = 0, time.monotonic()
        while len(self.done()) < tasks and time.monotonic() - since < _QUIET:
            if (now := self.record.stat().st_size) != size:
                size, since = now, time.monotonic()
            time.sleep(0.2)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def delete_queue(app: Any) -> None:
    """Delete what an app has declared for its tasks."""
    name = app.conf.task_default_queue
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(name)
        connection.default_channel.exchange_delete(name)


def experiment(given: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    """Return what became of the tasks."""
    prefix = f"kills-{secrets.token_hex(4)}"
    app = make_app(given.broker, given.backend, prefix)
    home = Path(stack.enter_context(TemporaryDirectory()))
    for url in (given.broker, given.backend):
        stack.callback(forget, url, prefix)
    stack.callback(app.close)
    stack.callback(delete_queue, app)
    env = environment(given.broker, given.backend, prefix)
    if given.pool != "asyncio":
        env["CELERY_ASYNC_BRIDGE"] = "0"
    if given.broker.startswith("redis"):
        options = {**app.conf.broker_transport_options, **_BACK}
        env["POOL_CONF"] = json.dumps({"broker_transport_options": options})
    run = Run(app, given.pool, env, home)
    run.record.touch()
    env["POOL_RECORD"] = str(run.record)
    for number in range(given.tasks):
        # Long enough that the last worker to be killed has work, too.
        run.task.delay(number, random.uniform(0, 0.2))
    for number in range(given.kills):
        run.kill_one()
        print(f"kill {number + 1}: {len(run.done())} done", flush=True)
    with run.worker(100 if given.pool != "prefork" else 10):
        run.settle(given.tasks)
    found = run.done()
    return {
        "pool": given.pool,
        "broker": given.broker.partition(":")[0],
        "tasks": given.tasks,
        "kills": given.kills,
        "lost": given.tasks - len(found),
        "ran again": sum(times > 1 for times in found.values()),
    }


def main() -> None:
    """Run it, and print how often tasks ran."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("broker")
    parser.add_argument("backend")
    parser.add_argument("--pool", default="asyncio")
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    with ExitStack() as stack:
        print(json.dumps(experiment(parser.parse_args(), stack)))


if __name__ == "__main__":
    main()
