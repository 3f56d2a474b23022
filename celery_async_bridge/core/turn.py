"""A first-come lock that coroutines and threads wait for alike."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

__all__ = ("Turn", "turn_of")

#: Seconds between two looks of a waiting thread at whether it is still wanted.
_LOOK = 0.1


class Turn:
    """Exclusive use of an object that is not thread-safe.

    `threading.Lock` would block the loop or hold a pool thread while it waits, and
    `asyncio.Lock` belongs to one loop. It is not re-entrant and has no owner: the
    thread that finishes a call gives back the turn that the coroutine took.
    """

    __slots__ = ("__weakref__", "_held", "_mutex", "_waiters")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._waiters: deque[Future[None]] = deque()

    def _join(self) -> Future[None] | None:
        with self._mutex:
            if not self._held:
                self._held = True
                return None
            waiter: Future[None] = Future()
            self._waiters.append(waiter)
            return waiter

    def _leave(self, waiter: Future[None]) -> None:
        with self._mutex:
            granted = waiter.done() and not waiter.cancelled()
            if not granted:
                waiter.cancel()
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if granted:
            self.release()

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait for the turn on the running loop, at most `timeout` seconds.

        Raises:
            TimeoutError: the turn did not come.
        """
        waiter = self._join()
        if waiter is None:
            return
        wrapped = asyncio.wrap_future(waiter)
        try:
            done, _ = await asyncio.wait({wrapped}, timeout=timeout)
        except BaseException:
            self._leave(waiter)
            raise
        if not done:
            self._leave(waiter)
            raise TimeoutError

    def acquire_blocking(self, unless: threading.Event | None = None) -> bool:
        """Wait for the turn in a bridge thread; False once `unless` is set."""
        waiter = self._join()
        if waiter is None:
            return True
        if unless is None:
            waiter.result()
            return True
        while not unless.is_set():
            try:
                waiter.result(_LOOK)
            except FutureTimeout:
                continue
            return True
        self._leave(waiter)
        return False

    def release(self) -> None:
        """Hand the turn to the one who has waited longest."""
        with self._mutex:
            while self._waiters:
                waiter = self._waiters.popleft()
                if waiter.set_running_or_notify_cancel():
                    waiter.set_result(None)
                    return
            self._held = False

    @property
    def wanted(self) -> bool:
        """Whether somebody is waiting."""
        return bool(self._waiters)


_by_id: dict[tuple[int, str], tuple[weakref.ref[Any], Turn]] = {}
_turns_lock = threading.Lock()


def turn_of(target: object, purpose: str = "") -> Turn:
    """Return the turn of an object, by identity, for using it at all or one purpose.

    Kombu connections compare equal when they point at the same server, so a
    `WeakKeyDictionary` would give two connections one lock.
    """
    key = (id(target), purpose)
    with _turns_lock:
        entry = _by_id.get(key)
        if entry is not None and entry[0]() is target:
            return entry[1]

        def forget(ref: object) -> None:
            # Another object may have got the id before this one was buried.
            entry = _by_id.get(key)
            if entry is not None and entry[0] is ref:
                del _by_id[key]

        turn = Turn()
        _by_id[key] = (weakref.ref(target, forget), turn)
        return turn


def _after_fork() -> None:
    # A turn that a thread of the parent holds would never come back in the child.
    global _turns_lock
    _turns_lock = threading.Lock()
    _by_id.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
