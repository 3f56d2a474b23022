"""A clock that other processes do not turn."""

from __future__ import annotations

import os
import threading
import time

__all__ = ("own_time",)


class _Scheduled:
    """What the kernel tells of the running thread; kept open, for it is asked often."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        try:
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def waited(self) -> int:
        """Nanoseconds in which the thread was ready and had no CPU."""
        try:
            # Time on a CPU, time spent waiting for one, turns.
            return int(os.pread(self._fd, 80, 0).split()[1])
        except (OSError, IndexError):
            return 0


_of_thread = threading.local()


def own_time() -> float:
    """Seconds, without those in which this thread was ready and had no CPU.

    Waiting counts, and so does working: what a loop misses by this clock it has missed
    by itself, and not because the machine was busy with something else. Where the
    kernel does not tell, it is the usual clock.
    """
    now = time.monotonic()
    scheduled = getattr(_of_thread, "scheduled", None)
    # A fork has inherited what is told of its parent.
    if scheduled is None or scheduled.pid != os.getpid():
        scheduled = _of_thread.scheduled = _Scheduled()
    waited: int = scheduled.waited()
    return now - waited * 1e-9
