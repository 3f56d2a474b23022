"""A timer that is moved, or stopped, without a new one of the loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

__all__ = ("Alarm",)


class Alarm:
    """Calls back once, at a time that may be put off at no cost.

    Whoever waits alone sets and stops several of them for each result; as timers of the
    loop, which are sorted in Python, those would cost as much as the rest of a wait.

    Arguments:
        call: called on the loop, in an empty context: what a caller has in its own must
            not live on here.
    """

    __slots__ = ("_at", "_call", "_context", "_due", "_handle", "_loop")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.Context()
        self._due: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        #: When it runs out. uvloop's handles of what is due at once do not know.
        self._at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether it is going to call back."""
        return self._due is not None

    def set(self, when: float) -> None:
        """Call back at a time of the loop's clock, and not at the one set before."""
        self._due = when
        if self._handle is None:
            self._arm(when)
        elif self._at > when:
            self._handle.cancel()
            self._arm(when)

    def stop(self) -> None:
        """Do not call back; the loop's timer runs out by itself."""
        self._due = None

    def cancel(self) -> None:
        """Leave nothing on the loop."""
        self._due = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        self._at = when
        self._handle = self._loop.call_at(when, self._ring, context=self._context)

    def _ring(self) -> None:
        self._handle = None
        due = self._due
        if due is None:
            return
        if due > self._at:
            self._arm(due)
        else:
            self._due = None
            self._call()
