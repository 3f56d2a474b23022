"""Deadlines: looked at whenever somebody uses the broker, or waits for it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ("Timers",)


class Timers:
    """What is due, and when; no thread, no polling.

    Arguments:
        clock: seconds, never going back.
        sooner: called when the next deadline has moved forward.
    """

    def __init__(self, clock: Callable[[], float], sooner: Callable[[], None]) -> None:
        self._clock = clock
        self._sooner = sooner
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Call `what` when the time has come; it must bear to be called in vain."""
        first = not self._heap or when < self._heap[0][0]
        self._count += 1
        heappush(self._heap, (when, self._count, what))
        if first:
            self._sooner()

    def next(self) -> float | None:
        """Return the seconds until something is due, if ever."""
        return max(self._heap[0][0] - self._clock(), 0.0) if self._heap else None

    def run(self) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= self._clock():
            heappop(self._heap)[2]()
