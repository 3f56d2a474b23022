"""What the demo shows: each step returns one line for the report."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ("STEPS", "Scene", "Skipped", "Step")

TIMEOUT = 20.0


class Skipped(Exception):
    """A step does not apply; the text says why."""


@dataclass
class Scene:
    """What the steps share."""

    app: Any
    tasks: ModuleType
    runs_coroutines: bool
    gaps: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Note how late the loop wakes up; cancelled at the end."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            self.gaps.append(loop.time() - before - 0.005)


Step = Callable[[Scene], Awaitable[str]]


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"expected {wanted!r}, got {found!r}")


async def send_many(scene: Scene) -> str:
    """`gather` of 100 sends."""
    began = time.perf_counter()
    results = await asyncio.gather(
        *(scene.tasks.price.adelay("tea", n) for n in range(100))
    )
    sent = time.perf_counter() - began
    values = [await result.aget(timeout=TIMEOUT) for result in results]
    _expect(values, [4 * n for n in range(100)])
    return f"100 tasks sent in {sent * 1000:.0f} ms, 100 results"


async def round_trip(scene: Scene) -> str:
    """One task after the other."""
    times = []
    for n in range(20):
        began = time.perf_counter()
        result = await scene.tasks.price.adelay("milk", n)
        _expect(await result.aget(timeout=TIMEOUT), 2 * n)
        times.append(time.perf_counter() - began)
    return f"median {statistics.median(times) * 1000:.1f} ms over 20"


async def a_group(scene: Scene) -> str:
    """A group, its results in order."""
    from celery import group

    price = scene.tasks.price
    lines: Any = group(price.s("bread", n) for n in range(10))
    result = await lines.aapply_async()
    _expect(await result.ajoin(timeout=TIMEOUT), [3 * n for n in range(10)])
    return "10 results in order"


async def a_chord(scene: Scene) -> str:
    """A chord: the sum of an order."""
    from celery import chord

    header = [scene.tasks.price.s(item, 2) for item in scene.tasks.PRICES]
    order: Any = chord(header, scene.tasks.total.s())
    try:
        result = await order.aapply_async()
    except NotImplementedError as exc:
        raise Skipped("this result backend has no chords, as in sync Celery") from exc
    _expect(await result.aget(timeout=TIMEOUT), 18)
    return "the sum of an order is 18"


async def a_failure(scene: Scene) -> str:
    """A failing task: the exception of the task, here."""
    result = await scene.tasks.reserve.adelay("tea")
    try:
        await result.aget(timeout=TIMEOUT)
    except Exception as exc:
        _expect((type(exc).__name__, exc.args), ("OutOfStock", ("tea",)))
        return f"raised {exc!r}"
    raise AssertionError("the task did not fail")


async def a_retry(scene: Scene) -> str:
    """A task that asks for a second attempt."""
    result = await scene.tasks.ship.adelay("Paris")
    value = await result.aget(timeout=TIMEOUT)
    _expect(value, "shipped to Paris at attempt 2")
    return str(value)


async def progress(scene: Scene) -> str:
    """States as they change."""
    result = await scene.tasks.pack.adelay(4)
    seen = []
    async for state, meta in result.astates():
        done = meta["result"]
        seen.append(f"{done['packed']}/{done['of']}" if state == "PROGRESS" else state)
    _expect(seen[-1], "SUCCESS")
    _expect("1/4" in seen or "2/4" in seen or "3/4" in seen, True)
    return " ".join(seen)


async def a_coroutine(scene: Scene) -> str:
    """An `async def` task, many at once."""
    if not scene.runs_coroutines:
        raise Skipped("a stock worker runs no coroutines")
    began = time.perf_counter()
    results = await asyncio.gather(
        *(scene.tasks.exchange_rate.adelay("USD") for _ in range(50))
    )
    _expect({await result.aget(timeout=TIMEOUT) for result in results}, {1.1})
    return f"50 tasks of 100 ms each in {(time.perf_counter() - began) * 1000:.0f} ms"


STEPS: tuple[tuple[str, Step], ...] = (
    ("send", send_many),
    ("round trip", round_trip),
    ("group", a_group),
    ("chord", a_chord),
    ("failure", a_failure),
    ("retry", a_retry),
    ("progress", progress),
    ("async def", a_coroutine),
)
