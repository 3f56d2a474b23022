"""What the benchmarks and the tests of the thread tier measure alike."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

from tests.integration.apps import loop_gaps


@dataclass(frozen=True)
class Sends:
    """Seconds for one warm send, for fifty at once, and how late the loop was."""

    one: float
    fifty: float
    gap: float
    gap_p95: float

    @property
    def ratio(self) -> float:
        """The fifty, in sends."""
        return self.fifty / self.one

    def __str__(self) -> str:
        return (
            f"one {self.one * 1e3:.1f} ms, fifty {self.fifty * 1e3:.0f} ms "
            f"= {self.ratio:.1f} sends, loop late by {self.gap * 1e3:.1f} ms at most, "
            f"{self.gap_p95 * 1e3:.1f} ms at the 95th percentile"
        )


async def fifty_sends(app: Any) -> Sends:
    """Measure sends with connections and threads that are warm."""
    send = app.add.adelay
    for _ in range(2):
        await asyncio.gather(*(send(n, 1) for n in range(50)))
    singles, rounds = [], []
    for _ in range(3):
        # Both in turn, so that a busy machine slows both.
        for _ in range(3):
            began = time.perf_counter()
            await send(1, 1)
            singles.append(time.perf_counter() - began)
        async with loop_gaps() as late:
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            await asyncio.gather(*(send(n, 1) for n in range(50)))
            rounds.append((time.perf_counter() - began, late))
    fifty, late = min(rounds, key=lambda found: found[0])
    p95 = statistics.quantiles(late, n=20)[-1]
    return Sends(statistics.median(singles), fifty, max(late), p95)
