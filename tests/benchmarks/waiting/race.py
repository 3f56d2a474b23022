# mypy: disable-error-code="attr-defined"
"""Ten thousand waits, half of them for what is there, half racing with its writer."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.utils import uuid

from .answers import Store
from .measure import WITHIN
from .stock import ANSWER, make_app
from .workers import process

if TYPE_CHECKING:
    from ..control import Control

__all__ = ("race",)

_LOOK = 0.05


async def _most(control: Control, found: dict[str, int]) -> None:
    while True:
        subscribed = control.ask("CLIENT", "LIST", "TYPE", "pubsub").split("\n")
        now = {
            "subscriptions": sum("id=" in line for line in subscribed),
            "threads": threading.active_count(),
        }
        for name, value in now.items():
            found[name] = max(value, found.get(name, 0))
        await asyncio.sleep(_LOOK)


async def race(port: int, control: Control, kind: str, count: int) -> dict[str, Any]:
    """Run it once; return what `must_hold` judges, times in seconds.

    Returns:
        `beyond`: from the writer's last result to ours; `cpu`: what the waits cost this
        process, which says more than a clock where others use the machine, too.
    """
    import celery_async_bridge

    celery_async_bridge.install()
    app: Any = make_app(f"redis://127.0.0.1:{port}/0", "none")
    ids = [uuid() for _ in range(count)]
    early, late = ids[::2], ids[1::2]
    store = Store(port)
    store.store(early)
    store.close()
    threads = threading.active_count()
    most: dict[str, int] = {}
    words = [sys.executable, "-m", f"{__package__}.writer", str(port), kind]
    with process(words) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(" ".join(late) + "\n")
        writer.stdin.flush()
        writer.stdout.readline()
        watching = asyncio.ensure_future(_most(control, most))
        writer.stdin.write("go\n")
        writer.stdin.flush()
        began, cpu = time.monotonic(), time.process_time()
        waits = [app.AsyncResult(one).aget(timeout=WITHIN) for one in ids]
        found = await asyncio.gather(*waits, return_exceptions=True)
        ended, cpu = time.monotonic(), time.process_time() - cpu
        watching.cancel()
        written = float(writer.stdout.readline())
    await celery_async_bridge.aclose()
    app.close()
    return {
        "missing": sum(one != ANSWER for one in found),
        "beyond": max(ended - written, 0.0),
        "writer": written - began,
        "cpu": cpu,
        "subscriptions": most["subscriptions"],
        "threads": most["threads"] - threads,
        "tier": "native",
    }
