"""A clock that other processes do not turn."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ("own_time",)

_SCHEDULED = Path("/proc/thread-self/schedstat")


def own_time() -> float:
    """Seconds, without those in which this thread was ready and had no CPU.

    Waiting counts, and so does working: what a loop misses by this clock it has missed
    by itself, and not because the machine was busy with something else. Where the
    kernel does not tell, it is the usual clock.
    """
    now = time.monotonic()
    try:
        # Time on a CPU, time spent waiting for one (both in ns), turns.
        waited = int(_SCHEDULED.read_text().split()[1])
    except (OSError, IndexError):
        return now
    return now - waited * 1e-9
