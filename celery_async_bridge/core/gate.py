"""Let a burst of calls start a few at a time, so that the loop keeps turning."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from .deadlines import LATE, deadlines_of
from .loops import LoopLocal

__all__ = ("enter", "gate", "go_on", "queue_early")

#: Calls that go on in one turn of the loop after something that many of them waited
#: for: each has a connection's worth of objects to build.
GOING_ON = 4


class _Gate:
    """A first-come gate with so many starts per turn of its loop.

    `gather` of a thousand sends makes all of them runnable at once; without the gate
    the loop would build a thousand messages before it looks at anything else.
    """

    def __init__(self) -> None:
        self._started = 0
        self._ticking = False
        self._waiters: deque[tuple[asyncio.Future[Any], int]] = deque()
        #: What the last call was let in by: so many in one turn, so many seconds.
        self.limit = 1
        self.seconds: float | None = None

    @property
    def busy(self) -> bool:
        """Whether calls wait."""
        return bool(self._waiters)

    def enter(self, limit: int) -> bool:
        """Let a call in that need not wait for others; whether it need not."""
        if not self._ticking:
            self._ticking = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._tick, loop)
        if self._started < limit and not self._waiters:
            self._started += 1
            return True
        return False

    async def pass_(
        self, limit: int, seconds: float | None = None, began: float = 0.0
    ) -> bool:
        if self.enter(limit):
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, limit))
        if seconds is not None:
            deadlines_of(seconds, "gate").watch(waiter, began + seconds)
        return await waiter is not LATE

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._started = 0
        while self._waiters and self._started < self._waiters[0][1]:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._started += 1
        if self._started:
            loop.call_soon(self._tick, loop)
        else:
            self._ticking = False


_gates = LoopLocal(_Gate)
#: A gate of their own: calls that are under way do not queue behind those to come.
_under_way = LoopLocal(_Gate)


async def queue_early(seconds: float | None, began: float) -> bool:
    """Where others wait to start, wait behind them before anything else is done.

    Ten thousand calls that look up where they go, before each of them queues, would be
    one long turn of the loop.

    Arguments:
        seconds: the deadline of the call; None if it is not known yet.
        began: when the call came.

    Returns:
        whether the call has waited, and so may start without `gate`.
    """
    here = _gates.get()
    if not here.busy:
        return False
    await here.pass_(here.limit, here.seconds if seconds is None else seconds, began)
    return True


def enter(limit: int, seconds: float | None = None) -> bool:
    """Start a call, if it need not wait for its turn; see `gate`."""
    here = _gates.get()
    here.limit, here.seconds = max(limit, 1), seconds
    return here.enter(here.limit)


async def gate(limit: int, seconds: float | None = None, began: float = 0.0) -> bool:
    """Wait until this call may start.

    Arguments:
        limit: starts per turn of the running loop.
        seconds: how long it may wait, or None.
        began: from when on.

    Returns:
        whether it may: False when the time is up.
    """
    here = _gates.get()
    here.limit, here.seconds = max(limit, 1), seconds
    return await here.pass_(here.limit, seconds, began)


async def go_on(limit: int = GOING_ON) -> None:
    """Wait until a call that is under way may go on beside many others.

    The end of a connection, its return, and the pause before a retry come to all calls
    in the same turn of the loop. They do not queue behind those that have not started.

    Arguments:
        limit: those that may go on in one turn of the loop.
    """
    await _under_way.get().pass_(max(limit, 1))
