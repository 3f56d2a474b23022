"""What a pool itself costs for a task: CPU time beside that of the threads pool.

    python -m tests.benchmarks.worker.share {asyncio,threads} [--tasks 4000]

The tracer runs in both; no broker and no backend is asked. The difference of two runs,
taken alternately, is the share of the asyncio pool.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from celery import concurrency
from celery.app import trace
from kombu.asynchronous import Hub

from tests.benchmarks.worker.bench_app import make_app

_BODY = '[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
#: So many are with the pool at once: what a worker prefetches.
_AHEAD = 2000


def drain(pool: Any, hub: Any, name: str, tasks: int) -> None:
    """Have the pool run so many tasks, and the hub hear of it."""
    sent = done = 0

    def ended(_: Any) -> None:
        nonlocal done
        done += 1

    while done < tasks:
        while sent < min(tasks, done + _AHEAD):
            sent += 1
            request = {"id": str(sent), "task": name, "args": [], "kwargs": {}}
            pool.apply_async(
                trace.fast_trace_task,
                args=(name, str(sent), request, _BODY, "application/json", "utf-8"),
                accept_callback=lambda *_: None,
                callback=ended,
            )
        hub.run_once()


def main() -> None:
    """Measure one pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", choices=("asyncio", "threads"))
    parser.add_argument("--tasks", type=int, default=4000)
    given = parser.parse_args()
    app = make_app("redis://", "share")
    worker: Any = vars(trace)["setup_worker_optimizations"]
    worker(app, "here")
    make: Any = concurrency.get_implementation(given.pool)
    limit = 1000 if given.pool == "asyncio" else 100
    pool = make(limit, app=app, initargs=(app, "here"))
    pool.start()
    for task in app.tasks.values():
        task.__trace__ = trace.build_tracer(task.name, task, app=app)
    hub: Any = Hub()
    readable, _ = os.pipe()
    hub.add_reader(readable, lambda: None)  # else it does not poll
    hub.timer.call_repeatedly(0.2, lambda: None)
    pool.register_with_event_loop(hub)
    name = "anoop" if given.pool == "asyncio" else "noop"
    drain(pool, hub, name, given.tasks // 8)
    begun = time.process_time()
    drain(pool, hub, name, given.tasks)
    used = time.process_time() - begun
    print(f"-P {given.pool}: {used / given.tasks * 1e6:.0f} us CPU per task")
    pool.stop()


if __name__ == "__main__":
    main()
