"""Ends what takes too long: one timer for many waits, and a few ends in each turn."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from typing import Any, Final, Protocol

from .loops import LoopLocal

__all__ = ("LATE", "Deadlines", "deadlines_of")

#: Waits that are ended in one turn of the loop: each wakes a call that unwinds.
AT_ONCE = 64


class _Late:
    def __repr__(self) -> str:
        return "LATE"


#: The result of what was not done in time. Not an exception: hundreds that come at
#: once would be thousands of tracebacks and frames for Python's collector.
LATE: Final = _Late()


class Wait(Protocol):
    """What is watched: a future, or what can be asked and told the same."""

    def done(self) -> bool:
        """Whether there is nothing to end."""
        ...

    def set_result(self, result: Any, /) -> object:
        """Be told `LATE`."""
        ...


class Deadlines:
    """Waits of one loop and one kind that all have the same number of seconds.

    They should come in the order of their ends; one that does not costs more.
    """

    __slots__ = ("_at", "_timer", "_watched", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._watched: deque[tuple[float, Wait]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        #: When it runs out. uvloop's handles of what is due at once do not know.
        self._at = 0.0

    def watch(self, wait: Wait, end: float) -> None:
        """Give `wait` the result `LATE` unless it is done by `end`.

        Arguments:
            wait: a future of the running loop.
            end: the time of the loop.
        """
        watched = self._watched
        while watched and watched[0][1].done():
            watched.popleft()
        if watched and end < watched[-1][0]:
            insort(watched, (end, wait), key=_end)
        else:
            watched.append((end, wait))
        timer = self._timer
        if timer is None or end < self._at:
            if timer is not None:
                timer.cancel()
            self._arm(asyncio.get_running_loop(), end)

    def _arm(self, loop: asyncio.AbstractEventLoop, end: float) -> None:
        self._at = end
        self._timer = loop.call_at(end, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, watched, left = loop.time(), self._watched, AT_ONCE
        while watched:
            end, wait = watched[0]
            if not wait.done():
                if end > now or not left:
                    break
                left -= 1
                wait.set_result(LATE)
            watched.popleft()
        # The rest of those whose time has come, in the next turn.
        self._timer = None
        if watched:
            self._arm(loop, watched[0][0])


def _end(entry: tuple[float, Wait]) -> float:
    return entry[0]


_deadlines: LoopLocal[dict[tuple[str, float], Deadlines]] = LoopLocal(dict)


def deadlines_of(seconds: float, kind: str) -> Deadlines:
    """Return the running loop's watch over waits with so many seconds.

    Arguments:
        seconds: the time that they have from their begin.
        kind: those of one kind begin and end in about the same order.
    """
    found = _deadlines.get()
    deadlines = found.get((kind, seconds))
    if deadlines is None:
        if len(found) >= 64:  # a new number of seconds for every call
            found.clear()
        deadlines = found[kind, seconds] = Deadlines(seconds)
    return deadlines
