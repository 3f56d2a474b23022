"""The program that sends to a traced `celery worker -P asyncio`; it tells as JSON.

python -m tests.interop.tracers.worker_scenario

The environment is that of `worker_app`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import celery_async_bridge
from tests.interop.processes import stock_worker
from tests.interop.tracers.worker_app import make_app, start_tracer

if TYPE_CHECKING:
    from tests.interop.tracers.spans import Tracer

__all__ = ("EXECUTIONS", "MANY", "is_execution")

MANY = 100
#: Each tenth is executed twice, another tenth has a child; one is sync, and one fails.
EXECUTIONS = MANY + 2 * (MANY // 10) + 2
SOON = 60.0


async def _work(app: Any, tracer: Tracer) -> dict[str, Any]:
    """Send many at once, each below a span of its own; return what tasks saw."""
    seen: dict[str, Any] = {}

    async def one(number: int) -> None:
        with tracer.span(f"parent-{number}"):
            parent = tracer.current()
            result = await app.tasks["traced.work"].adelay(number)
        told = await result.aget(timeout=SOON)
        seen[result.id] = [parent, number, *told]

    await asyncio.gather(*(one(number) for number in range(MANY)))
    for *_, child in list(seen.values()):
        if child is not None:
            await app.AsyncResult(child).aget(timeout=SOON)
    return seen


async def _rest(app: Any, tracer: Tracer) -> dict[str, Any]:
    with tracer.span("parent-sync"):
        result = await app.tasks["traced.sync"].adelay()
    sync = {"id": result.id, "current": await result.aget(timeout=SOON)}
    with tracer.span("parent-fails"):
        failing = await app.tasks["traced.fails"].adelay()
    try:
        await failing.aget(timeout=SOON)
    except LookupError:
        return {"sync": sync, "fails": failing.id}
    raise AssertionError("it does not fail")


def is_execution(span: Mapping[str, Any]) -> bool:
    """Whether a span is that of a task's execution, and not of `traced.report`."""
    name: str = span["name"]
    named = name in ("celery.run", "queue.process") or name.startswith("run/")
    return named and "traced.report" not in str(span)


async def _reported(app: Any) -> dict[str, Any]:
    """Ask for the spans of the worker until the last one has ended."""
    found: dict[str, Any] = {"spans": [], "errors": []}
    end = time.monotonic() + SOON
    while sum(map(is_execution, found["spans"])) < EXECUTIONS:
        assert time.monotonic() < end, found
        more = await (await app.tasks["traced.report"].adelay()).aget(timeout=SOON)
        for key in found:
            found[key] += more[key]
    return found


async def _client(app: Any, tracer: Tracer) -> dict[str, Any]:
    seen = await _work(app, tracer)
    rest = await _rest(app, tracer)
    worker = await _reported(app)
    client = [asdict(span) for span in tracer.finished()]
    await celery_async_bridge.aclose()
    return {"seen": seen, **rest, "worker": worker, "client": client}


def main() -> dict[str, Any]:
    """Run it."""
    tracer = start_tracer()
    app = make_app(tracer)
    env = {**os.environ, "TRACED_IN_WORKER": "1"}
    with TemporaryDirectory() as home:
        log = Path(home) / "log"
        with stock_worker(
            app,
            "asyncio",
            env,
            log,
            module="tests.interop.tracers.worker_app",
            options=("-c", str(MANY)),
        ):
            return asyncio.run(_client(app, tracer))


if __name__ == "__main__":
    print(json.dumps(main()))
