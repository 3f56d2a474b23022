"""Calls that go to another thread, many in one wake-up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.utils.log import get_logger

__all__ = ("Batch",)

_logger = get_logger("celery.pool")


class Batch:
    """Calls from any thread for the one thread that `wake` reaches.

    Waking a thread costs a system call; a batch wakes it once for all calls that come
    before it looks.

    Arguments:
        wake: has the thread call what it is given, soon.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self.wake = wake
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def add(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn` called in the other thread; calls keep their order."""
        self._calls.append(partial(fn, *args))
        if not self._woken:
            self._woken = True
            self.wake(self.run)

    def run(self) -> None:
        """Make the calls that are there (in the other thread)."""
        # In this order: what is added from now on wakes the thread again.
        self._woken = False
        for _ in range(len(self._calls)):
            try:
                call = self._calls.popleft()
            except IndexError:  # a call has run the rest
                return
            try:
                call()
            except Exception as exc:
                # As upstream's pools do; anything else ends the worker.
                _logger.error("Pool callback raised exception: %r", exc, exc_info=True)
