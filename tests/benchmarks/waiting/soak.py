# mypy: disable-error-code="attr-defined"
"""A steady stream of round trips, and what memory does meanwhile."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from statistics import median
from typing import Any

from .measure import WITHIN
from .stock import ANSWER, make_app

__all__ = ("soak",)

#: Trips that are begun together.
_BURST = 20
#: The share of the time after which memory is looked at for the first time.
_SETTLES = 1 / 6


def _resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _samples(found: list[tuple[float, int]]) -> None:
    while True:
        found.append((time.monotonic(), _resident()))
        await asyncio.sleep(0.5)


async def soak(port: int, queue: str, seconds: float, count: int) -> dict[str, Any]:
    """Make so many trips in so many seconds, at a steady pace if they can be made.

    Returns:
        `growth`: bytes of memory that the last sixth of the time has more than the
        second one; `objects`: how many more there are at the end than after that sixth.
    """
    import celery_async_bridge

    celery_async_bridge.install()
    app: Any = make_app(f"redis://127.0.0.1:{port}/0", queue)
    resident: list[tuple[float, int]] = []
    done = wrong = 0

    async def trip(number: int) -> None:
        nonlocal done, wrong
        result = await app.noop.adelay(number)
        wrong += await result.aget(timeout=WITHIN) != ANSWER
        done += 1

    began = time.monotonic()
    sampling = asyncio.ensure_future(_samples(resident))
    running: set[asyncio.Task[None]] = set()
    objects = 0
    for start in range(0, count, _BURST):
        pause = began + seconds * start / count - time.monotonic()
        await asyncio.sleep(max(pause, 0))
        while len(running) > 100 * _BURST:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for number in range(start, min(start + _BURST, count)):
            task = asyncio.ensure_future(trip(number))
            running.add(task)
            task.add_done_callback(running.discard)
        if not objects and start >= count * _SETTLES:
            gc.collect()
            objects = len(gc.get_objects())
    while running:
        await asyncio.wait(running)
    took = time.monotonic() - began
    sampling.cancel()
    gc.collect()
    objects = len(gc.get_objects()) - objects
    await celery_async_bridge.aclose()
    app.close()
    sixth = took / 6
    early = [size for at, size in resident if sixth <= at - began < 2 * sixth]
    late = [size for at, size in resident if at - began >= 5 * sixth]
    return {
        "missing": count - done + wrong,
        "seconds": took,
        "resident": median(late),
        "growth": median(late) - median(early),
        "objects": objects,
        "tier": "native",
    }
