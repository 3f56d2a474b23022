"""How fast workers drain a queue, and what CPU time they take for a task.

    python -m tests.benchmarks.worker [--tasks 3000] [--rounds 2] [redis://...]

Each worker stops consuming, gets a full queue, and is measured from the moment it may
consume again until queue and unacknowledged messages are gone. The rounds alternate
between the workers, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.worker.bench_app import make_app
from tests.interop.processes import environment, forget, stock_worker

MODULE = "tests.benchmarks.worker.bench_app"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """A worker and what it does."""

    pool: str
    concurrency: int
    task: str

    @property
    def node(self) -> str:
        """A name for the worker."""
        return f"{self.pool}-{self.concurrency}"


ROWS = (
    Row("asyncio", 1000, "anoop"),
    Row("threads", 100, "noop"),
    Row("prefork", 2, "noop"),
    Row("asyncio", 1000, "anap"),
    Row("threads", 100, "nap"),
)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its living children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def drain(app: Any, client: Any, process: Any, row: Row, tasks: int) -> Any:
    """Return tasks per second and CPU milliseconds per task."""
    prefix = app.conf.task_default_queue
    name = f"{prefix}@{row.node}"
    reply = {"destination": [name], "reply": True, "timeout": 20, "limit": 1}
    app.control.cancel_consumer(prefix, **reply)
    for _ in range(tasks):
        app.tasks[row.task].apply_async()
    used, begun = cpu_seconds(process.pid), time.perf_counter()
    app.control.add_consumer(prefix, destination=[name])
    queue, unacked = f"{prefix}:{prefix}", f"{prefix}:unacked"
    while client.llen(queue) or client.hlen(unacked):
        time.sleep(0.01)
    took = time.perf_counter() - begun
    return tasks / took, (cpu_seconds(process.pid) - used) / tasks * 1000


@contextmanager
def running(url: str, row: Row) -> Iterator[tuple[Any, Any]]:
    """Run a worker with an app and keys of its own until the block ends."""
    prefix = f"bench-{secrets.token_hex(4)}"
    app = make_app(url, prefix)
    env = environment("", "", "")
    env |= {"BENCH_URL": url, "BENCH_PREFIX": prefix}
    with TemporaryDirectory() as home, ExitStack() as stack:
        stack.callback(forget, url, prefix)
        stack.callback(app.close)
        process = stack.enter_context(
            stock_worker(
                app,
                row.pool,
                env,
                Path(home) / "log",
                module=MODULE,
                options=("-c", str(row.concurrency), "--without-heartbeat"),
                node=row.node,
            )
        )
        yield app, process


def measure(url: str, rows: Iterable[Row], tasks: int, rounds: int) -> dict[Row, Any]:
    """Return the medians of each row: tasks per second, CPU milliseconds per task."""
    import redis

    client: Any = redis.Redis.from_url(url)
    found: dict[Row, list[Any]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row, runs in found.items():
            with running(url, row) as (app, process):
                drain(app, client, process, row, tasks // 10)
                runs.append(drain(app, client, process, row, tasks))
    return {
        row: tuple(map(statistics.median, zip(*runs, strict=True)))
        for row, runs in found.items()
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="redis://127.0.0.1:6379/15")
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    found = measure(given.url, ROWS, given.tasks, given.rounds)
    for row, (rate, cost) in found.items():
        what = f"-P {row.pool} -c {row.concurrency} {row.task}"
        print(f"{what:28} {rate:7.0f} tasks/s {cost:6.2f} ms CPU per task")


if __name__ == "__main__":
    main()
