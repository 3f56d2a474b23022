"""What a worker's own process sees of the tasks that it runs."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

__all__ = ("Tally",)

_PAGE = os.sysconf("SC_PAGE_SIZE")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class Tally:
    """Counts tasks; after the last one it prints the figures and ends the process.

    Figures are from the start of the first task: seconds and CPU seconds until the end
    of the last one, and bytes until `held` tasks were in flight.

    Arguments:
        expected: how many tasks come.
        held: how many of them are in flight when memory is looked at.
    """

    def __init__(self, expected: int, held: int) -> None:
        self._expected = expected
        self._held = held
        self._begun = self._ended = 0
        self._clocks = (0.0, 0.0)
        self._memory = 0
        self._grown: int | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Count the start of a task."""
        with self._lock:
            if not self._begun:
                self._clocks = time.perf_counter(), time.process_time()
                self._memory = _resident()
            self._begun += 1
            if self._grown is None and self._begun - self._ended == self._held:
                self._grown = _resident() - self._memory

    def end(self) -> None:
        """Count the end of a task."""
        with self._lock:
            self._ended += 1
            last = self._ended == self._expected
        if last:
            wall, cpu = self._clocks
            figures = {
                "seconds": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "bytes": self._grown,
            }
            # The worker has no part in what is measured any more, and several do
            # not end while a task of theirs runs.
            os.write(1, json.dumps(figures).encode() + b"\n")
            os._exit(0)
