# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics
"""How long a task takes through the embedded worker, start and stop included.

Run it as `python -m tests.benchmarks.embedded_round_trip [rounds]`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

from celery_async_bridge import embedded_worker
from tests.unit._memory import memory_app, native_memory

__all__ = ("main",)


def _tasks() -> tuple[Any, list[Any]]:
    app = memory_app("bench")

    @app.task(name="sync")
    def sync() -> int:
        return 1

    @app.task(name="async")
    async def asynchronous() -> int:
        return 1

    @app.task(name="nap")
    async def nap() -> None:
        await asyncio.sleep(0.1)

    return app, [app.tasks[name] for name in ("sync", "async", "nap")]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:8.2f} ms"


async def _trips(task: Any, rounds: int) -> list[float]:
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        await (await task.adelay()).aget(timeout=10)
        took.append(time.perf_counter() - start)
    return took


async def _run(rounds: int) -> None:
    app, (sync, asynchronous, nap) = _tasks()
    start = time.perf_counter()
    async with embedded_worker(app, concurrency=100):
        print("start              ", _ms(time.perf_counter() - start))
        for task in (sync, asynchronous):
            took = await _trips(task, rounds)
            print(f"{task.name:6} median      ", _ms(statistics.median(took)))
            print(f"{task.name:6} worst       ", _ms(max(took)))
        start = time.perf_counter()
        sent = [await nap.adelay() for _ in range(100)]
        await asyncio.gather(*(result.aget(timeout=10) for result in sent))
        print("100 naps of 100 ms ", _ms(time.perf_counter() - start))
        start = time.perf_counter()
    print("stop               ", _ms(time.perf_counter() - start))


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with native_memory():
        asyncio.run(_run(rounds))


if __name__ == "__main__":
    main()
