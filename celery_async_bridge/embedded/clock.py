"""The clock of the brokers and stores of this process; tests may hold it."""

from __future__ import annotations

import time

__all__ = ("CLOCK", "ProcessClock")


class ProcessClock:
    """The time of the machine, unless it stands: then it goes when it is told to.

    Attributes:
        stands: whether it stands, so that nothing becomes due by waiting.
    """

    __slots__ = ("_ahead", "_now", "_wall", "stands")

    def __init__(self) -> None:
        self.stands = False
        #: How far `monotonic` is before the machine's, which may never go back.
        self._ahead = 0.0
        self._now = self._wall = 0.0

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._now if self.stands else time.monotonic() + self._ahead

    def time(self) -> float:
        """Return seconds since the epoch."""
        return self._wall if self.stands else time.time()

    def stop(self) -> None:
        """Let it stand."""
        self._now, self._wall = self.monotonic(), self.time()
        self.stands = True

    def advance(self, seconds: float) -> None:
        """Move it while it stands."""
        self._now += seconds
        self._wall += seconds

    def go(self) -> None:
        """Let it go with the machine again; what was to come still is."""
        self._ahead = self._now - time.monotonic()
        self.stands = False


#: The one of this process.
CLOCK = ProcessClock()
