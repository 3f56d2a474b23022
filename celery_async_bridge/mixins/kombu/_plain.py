"""Waits that began when no async callback was at work.

They wait for an event and for nothing else, which costs least. But a callback that
another one's wait has begun may end first, and its end is an event for whoever waits:
so they are interrupted when one begins, and go on as those do that began later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._event import Event

__all__ = ("Plain", "interrupt")

_SLOT = "_bridge_plain"


class Plain:
    """One such wait, of the running task.

    Arguments:
        connection: Kombu's.
        event: what the wait learns of its message.

    Attributes:
        told: whether it was interrupted: it must go on.
    """

    __slots__ = ("_event", "_loop", "_task", "_waits", "told")

    def __init__(self, connection: Any, event: Event) -> None:
        self._waits: dict[Plain, None] = vars(connection).setdefault(_SLOT, {})
        self._event = event
        self._loop = asyncio.get_running_loop()
        self._task: Any = asyncio.current_task()
        self.told = False

    def __enter__(self) -> Plain:
        self._waits[self] = None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._waits.pop(self, None)
        if not self.told:
            return False
        # From 3.11 on a task counts them: somebody else may have cancelled it, too.
        others = getattr(self._task, "uncancel", int)()
        return kind is asyncio.CancelledError and not others

    def interrupt(self) -> None:
        """End the wait, unless it has its message."""
        event = self._event
        if self.told or self not in self._waits or event.busy or event.came:
            return
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self.told = True
            self._task.cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.interrupt)


def interrupt(connection: Any) -> None:
    """Have all such waits of a connection go on beside the callback that has begun."""
    for wait in list(getattr(connection, _SLOT, ())):
        wait.interrupt()
