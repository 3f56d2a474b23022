"""A stock `celery worker` in a process of its own, for the length of the demo."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ._example import example_root

__all__ = ("find_worker", "stock_worker")


async def find_worker(app: Any, queue: str, timeout: float = 1.0) -> str | None:
    """Return the name of a running worker that consumes `queue`, or None."""
    found = await app.control.inspect(timeout=timeout).aactive_queues() or {}
    for name, queues in found.items():
        if any(entry["name"] == queue for entry in queues):
            return str(name)
    return None


@asynccontextmanager
async def stock_worker(
    app: Any, queue: str, *, patience: float = 30.0
) -> AsyncIterator[str]:
    """Start `celery worker -P prefork` without the bridge; end it on leaving.

    Raises:
        RuntimeError: the worker ended, or did not answer within `patience` seconds.
    """
    name = f"demo-{os.getpid()}@localhost"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "celery", "-A", "shop.app", "worker"),
        *("-P", "prefork", "-c", "2", "-n", name, "-Q", queue, "-l", "ERROR"),
        "--without-gossip",
        "--without-mingle",
        cwd=example_root(),
        env={**os.environ, "CELERY_ASYNC_BRIDGE": "0"},
    )
    try:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while await find_worker(app, queue) is None:
            if process.returncode is not None or loop.time() > end:
                raise RuntimeError(f"no worker came up for the queue {queue!r}")
        yield name
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()
