"""Wake-ups across threads and loops: who waits for what, and the bell to ring."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterable
from typing import Any

from ...core.conversation import current_conversation
from ...core.trampoline import await_, in_trampoline

__all__ = ("BOARD", "Bell", "Board", "LoopBell", "ThreadBell", "bell_here")


class Bell:
    """What one waiter is woken with, as often as it likes.

    Arm, look, wait: what happens after `arm()` makes the next wait return at once, so
    an event between the look and the wait is never lost.
    """

    def __init__(self) -> None:
        #: Whether it rang since it was armed.
        self.rung = False
        #: Whether it rang and its owner has not looked since.
        self.owes = False
        #: What the last ring brought.
        self.value: Any = None

    def arm(self) -> None:
        """Get ready for the next ring (before looking)."""
        self.rung = False

    def settle(self) -> None:
        """Note that the owner looked everywhere and found nothing."""
        if not self.rung:
            self.owes = False

    def sound(self) -> bool:
        """Wake the waiter; False if it can no longer be reached."""
        raise NotImplementedError

    def hold(self, seconds: float | None) -> bool:
        """Wait in sync code; False if nothing rang within `seconds`."""
        raise NotImplementedError


class ThreadBell(Bell):
    """Wakes a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._event = threading.Event()

    def arm(self) -> None:
        """Get ready for the next ring."""
        self._event.clear()
        super().arm()

    def sound(self) -> bool:
        """Wake the thread."""
        self._event.set()
        return True

    def hold(self, seconds: float | None) -> bool:
        """Block the thread."""
        return self._event.wait(seconds)


class LoopBell(Bell):
    """Wakes a coroutine of the running loop, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._future: asyncio.Future[None] | None = None

    def sound(self) -> bool:
        """Wake the coroutine."""
        if threading.get_ident() == self._thread:
            self._deliver()
            return True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop was closed under its waiter
            return False
        return True

    def _deliver(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float | None) -> bool:
        """Wait on the loop; False if nothing rang within `seconds`."""
        if self.rung:
            return True
        future = self._future = self._loop.create_future()
        timer = None
        if seconds is not None:
            timer = self._loop.call_later(max(seconds, 0.0), self._deliver)
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
        return self.rung

    def hold(self, seconds: float | None) -> bool:
        """Suspend the trampolined call."""
        return await_(self.wait(seconds))


class Board:
    """Bells by what they wait for; the one that waits longest is woken first."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may restore messages while it is held.
        self._mutex = threading.RLock()
        self._bells: dict[Hashable, dict[Bell, None]] = {}

    def join(self, bell: Bell, keys: Iterable[Hashable]) -> None:
        """Have `bell` rung for each of `keys`."""
        with self._mutex:
            for key in keys:
                self._bells.setdefault(key, {})[bell] = None

    def leave(self, bell: Bell, keys: Iterable[Hashable]) -> None:
        """Take `bell` away."""
        with self._mutex:
            for key in keys:
                bells = self._bells.get(key)
                if bells is not None:
                    bells.pop(bell, None)
                    if not bells:
                        del self._bells[key]

    def ring(self, key: Hashable) -> None:
        """Wake one waiter that is not on its way already."""
        # Without the mutex: a waiter joins first and looks then, so one that is not
        # here yet will see what happened.
        while key in self._bells:
            bell = self._next(key)
            if bell is None or bell.sound():
                return

    def _next(self, key: Hashable) -> Bell | None:
        with self._mutex:
            for bell in self._bells.get(key, ()):
                if not bell.rung:
                    bell.rung = bell.owes = True
                    return bell
        return None

    def ring_all(self, key: Hashable, value: Any = None) -> None:
        """Wake everybody who waits for `key`, with a value."""
        if key not in self._bells:
            return
        with self._mutex:
            bells = list(self._bells.get(key, ()))
            for bell in bells:
                bell.rung = bell.owes = True
                bell.value = value
        for bell in bells:
            bell.sound()

    def __len__(self) -> int:
        with self._mutex:
            return sum(len(bells) for bells in self._bells.values())

    def clear(self) -> None:
        """Forget all waiters (they belong to the parent of a forked process)."""
        self.__init__()  # type: ignore[misc]


#: The waiters of this process.
BOARD = Board()


def bell_here() -> Bell | None:
    """Return a bell for the running sync code, or None if it may not wait our way."""
    if in_trampoline():
        return LoopBell()
    return ThreadBell() if current_conversation() is not None else None
