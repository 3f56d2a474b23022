"""Let a burst of calls start a few at a time, so that the loop keeps turning."""

from __future__ import annotations

import asyncio
from collections import deque

from .loops import LoopLocal

__all__ = ("gate", "gate_inside", "go_on", "queue_early")

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
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()
        #: What the last call was let in by.
        self.limit = 1

    @property
    def busy(self) -> bool:
        """Whether calls wait."""
        return bool(self._waiters)

    async def pass_(self, limit: int) -> None:
        self.limit = limit
        loop = asyncio.get_running_loop()
        if not self._ticking:
            self._ticking = True
            loop.call_soon(self._tick, loop)
        if self._started < limit and not self._waiters:
            self._started += 1
            return
        waiter = loop.create_future()
        self._waiters.append((waiter, limit))
        await waiter

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
_inner = LoopLocal(_Gate)


async def queue_early() -> bool:
    """Where others wait to start, wait behind them before anything else is done.

    Ten thousand calls that look up where they go, before each of them queues, would be
    one long turn of the loop.

    Returns:
        whether the call has waited, and so may start without `gate`.
    """
    here = _gates.get()
    if not here.busy:
        return False
    await here.pass_(here.limit)
    return True


async def gate(limit: int) -> None:
    """Wait until this call may start: `limit` starts per turn of the running loop."""
    await _gates.get().pass_(max(limit, 1))


async def go_on() -> None:
    """Wait until a call that woke up beside many others may go on.

    The end of a connection, its return, and the pause before a retry come to all calls
    in the same turn of the loop.
    """
    await _under_way.get().pass_(GOING_ON)


async def gate_inside(limit: int) -> None:
    """Wait until a call that has started may take its next step.

    It does not queue behind those that have not started.
    """
    await _inner.get().pass_(max(limit, 1))
