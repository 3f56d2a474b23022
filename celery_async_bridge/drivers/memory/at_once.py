"""Events of `memory://` that lie there: taken without a bell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ...core.carry import capture
from ...core.fair import Fair, give_way
from ...core.trampoline import Hand

__all__ = ("AtOnce",)


class AtOnce:
    """Delivers on one loop what needs no wait.

    Arguments:
        take: does one pass over the queues of a transport; whether an event came.
    """

    __slots__ = ("_fair", "_hand", "_loop", "_pid", "_take")

    def __init__(self, take: Callable[[Any], bool]) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._hand = Hand()
        self._fair = Fair()

    @property
    def here(self) -> bool:
        """Whether its loop is the running one."""
        return asyncio.get_running_loop() is self._loop and os.getpid() == self._pid

    def __call__(
        self, connection: Any, timeout: float | None, *, waits: bool = True
    ) -> Any:
        """Deliver an event of a connection; None if there is none.

        Something else than True must be awaited to know. It never waits for an event.
        """
        if connection._transport is None or not (connection.connected and self.here):
            return None
        if self._fair.owes_turn():
            return give_way()
        take = partial(self._take, connection._transport)
        return self._hand.begin(capture(take)) or None
