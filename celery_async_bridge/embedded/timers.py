"""Deadlines: looked at whenever somebody uses the broker, or waits for it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .broker import Clock

__all__ = ("Timers",)


class Timers:
    """What is due, and when; no thread, no polling.

    Arguments:
        clock: tells the time; one that `stands` brings nothing by waiting.
        sooner: called when the next deadline has moved forward.
    """

    def __init__(self, clock: Clock, sooner: Callable[[], None]) -> None:
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

    def when(self) -> float | None:
        """Return when something is due next, on the clock, if ever."""
        return self._heap[0][0] if self._heap else None

    def next(self) -> float | None:
        """Return the seconds until something is due, if waiting brings it."""
        if not self._heap or getattr(self._clock, "stands", False):
            return None
        return max(self._heap[0][0] - self._clock.monotonic(), 0.0)

    def run(self) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= self._clock.monotonic():
            heappop(self._heap)[2]()
