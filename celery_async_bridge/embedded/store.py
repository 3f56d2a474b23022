"""A store of keys and values with lifetimes, and counters among them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker import Clock
    from .durable.journal import Journal

__all__ = ("Store",)


class Store:
    """What result backends of one name share; safe for threads.

    Arguments:
        clock: tells when a key has had its time.
        journal: where it is written down, if it lasts; not waited for.
        lock: the one of the journal's broker.
    """

    def __init__(
        self,
        clock: Clock = time,
        journal: Journal | None = None,
        lock: threading.RLock | None = None,
    ) -> None:
        self.clock = clock
        self.journal = journal
        self._lock = lock or threading.RLock()
        #: Key -> value, and when it goes; None for never.
        self._values: dict[Any, tuple[Any, float | None]] = {}
        self._ends: list[tuple[float, int, Any]] = []
        self._count = 0

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._values)

    def get(self, key: Any) -> Any:
        """Return a value, or None."""
        with self._lock:
            self._sweep()
            return self._values.get(key, (None, None))[0]

    def get_many(self, keys: Iterable[Any]) -> list[Any]:
        """Return the values of some keys, None for those that do not exist."""
        with self._lock:
            self._sweep()
            return [self._values.get(key, (None, None))[0] for key in keys]

    def set(self, key: Any, value: Any, seconds: float | None = None) -> None:
        """Set a value, for some seconds or for ever."""
        with self._lock:
            self._sweep()
            self._values[key] = (value, None)
            self._live(key, seconds)

    def add(self, key: Any) -> int:
        """Count a key up, from 0; return the new value."""
        with self._lock:
            self._sweep()
            value, end = self._values.get(key, (0, None))
            self._values[key] = (int(value) + 1, end)
            self._note(key)
            return int(value) + 1

    def expire(self, key: Any, seconds: float | None) -> None:
        """Let a key go in some seconds; in none: never."""
        with self._lock:
            self._sweep()
            if key in self._values:
                self._live(key, seconds)

    def delete(self, key: Any) -> None:
        """Remove a key, if it exists."""
        with self._lock:
            if self._values.pop(key, None) is not None and self.journal is not None:
                self.journal.drop_result(key)

    def restore(self, key: Any, value: Any, end: float | None) -> None:
        """Set a value that was written down, until a time on the clock."""
        self._put(key, value, end)

    def _live(self, key: Any, seconds: float | None) -> None:
        end = self.clock.monotonic() + seconds if seconds else None
        self._put(key, self._values[key][0], end)
        self._note(key)

    def _note(self, key: Any) -> None:
        if self.journal is not None:
            self.journal.result(key, *self._values[key])

    def _put(self, key: Any, value: Any, end: float | None) -> None:
        self._values[key] = (value, end)
        if end is not None:
            self._count += 1
            heappush(self._ends, (end, self._count, key))

    def _sweep(self) -> None:
        now = self.clock.monotonic()
        while self._ends and self._ends[0][0] <= now:
            end, _, key = heappop(self._ends)
            # Its time may have been prolonged since.
            if self._values.get(key, (None, None))[1] == end:
                del self._values[key]
                if self.journal is not None:
                    self.journal.drop_result(key)
