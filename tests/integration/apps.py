"""Apps of the integration tests, and what can be counted about a process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from celery import Celery
from kombu import pools

from celery_async_bridge.core.lane import lanes
from tests.integration.own_time import own_time


def _add(x: int, y: int) -> int:
    return x + y


@contextmanager
def an_app(broker: str, backend: str, name: str, **conf: Any) -> Iterator[Any]:
    """An app whose names begin with `name`, closed at the end."""
    app: Any = Celery("integration", set_as_current=False, broker=broker)
    app.conf.update(
        result_backend=backend or None,
        task_default_queue=f"{name}.tasks",
        control_exchange=f"{name}.control",
        event_exchange=f"{name}.events",
        result_exchange=f"{name}.results",
        broker_connection_timeout=5,
        **conf,
    )
    if broker.startswith("redis"):
        options = {"global_keyprefix": f"{name}:", **app.conf.broker_transport_options}
        app.conf.broker_transport_options = options
        app.conf.result_backend_transport_options = {"global_keyprefix": f"{name}:"}
    app.add = app.task(_add, name="add", shared=False)
    app.finalize()
    try:
        yield app
    finally:
        app.close()
        pools.reset()


def sockets() -> int:
    """Open sockets of this process."""
    found = 0
    for entry in os.scandir("/proc/self/fd"):
        try:
            found += os.readlink(entry.path).startswith("socket:")
        except OSError:
            continue
    return found


def bridge_threads() -> list[str]:
    """Names of the bridge's own threads that are alive."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("celery-async-")]


def queued() -> int:
    """Calls that wait for a thread or run in one."""
    counts = [lane.status() for lane in lanes().values()]
    return sum(count["running"] + count["queued"] for count in counts)


@asynccontextmanager
async def loop_gaps() -> AsyncIterator[list[float]]:
    """Collect by how much a 1 ms ticker is late, be the machine busy or not."""
    gaps: list[float] = []

    async def tick() -> None:
        last = own_time()
        while True:
            await asyncio.sleep(0.001)
            now = own_time()
            gaps.append(now - last - 0.001)
            last = now

    ticker = asyncio.ensure_future(tick())
    try:
        yield gaps
    finally:
        ticker.cancel()
