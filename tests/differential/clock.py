"""Time that passes when it is told to."""

from __future__ import annotations

__all__ = ("HandClock",)


class HandClock:
    """A clock for a broker, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
