"""Waiting for room on a connection, and the error of a send that is out of time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ..core.loops import LoopLocal
from ..core.route import Expired
from ..errors import publish_timeout

__all__ = ("Turnstile", "out_of_time", "turnstile_of")

#: Sends that are let in at once: as many messages are built in one turn of the loop.
STARTS = 128


def out_of_time(
    label: str, seconds: float, uncertain: bool, task_id: str
) -> BaseException:
    """Return the error of a send whose deadline has come."""
    error = publish_timeout(Expired(label, seconds, uncertain, 0, 0))
    error.task_id = task_id
    return error


class Turnstile:
    """Where sends wait for room on one connection, first come, first served."""

    __slots__ = ("_pump", "waiting")

    def __init__(self) -> None:
        #: Those who wait, longest first.
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self._pump: asyncio.Task[None] | None = None

    def join(self, mux: Any) -> asyncio.Future[Any]:
        """Return a future that is done when its owner may go through.

        Who watches it may have made it `LATE`.
        """
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Any] = loop.create_future()
        self.waiting.append(place)
        if self._pump is None:
            self._pump = loop.create_task(self._let_in(mux))
        return place

    async def _let_in(self, mux: Any) -> None:
        waiting = self.waiting
        try:
            while waiting:
                await mux.wait_room()
                free = min(mux.free, STARTS)
                while waiting and free > 0:
                    place = waiting.popleft()
                    if not place.done():
                        place.set_result(None)
                        free -= 1
                # They must have pushed before the room is looked at again.
                await asyncio.sleep(0)
        finally:
            self._pump = None
            while waiting:  # cancelled with the loop: nobody is left behind
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)


_turnstiles: LoopLocal[dict[int, Turnstile]] = LoopLocal(dict)


def turnstile_of(mux: Any) -> Turnstile:
    """Return the turnstile of a connection of the running loop."""
    found = _turnstiles.get()
    turnstile = found.get(id(mux))
    if turnstile is None:
        turnstile = found[id(mux)] = Turnstile()
    return turnstile
