"""Names the body that holds the loop of a worker."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from contextlib import suppress

from celery.utils.log import get_logger

__all__ = ("SlowWatch",)

_logger = get_logger("celery.pool")


class SlowWatch(threading.Thread):
    """Asks the loop for a sign of life, and warns with its stack when there is none.

    Arguments:
        loop: the loop, which runs in a thread of its own.
        ident: that thread.
        seconds: how long a body may hold the loop.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ident: int, seconds: float
    ) -> None:
        super().__init__(name="celery-async-watch", daemon=True)
        self._loop = loop
        self._watched = ident
        self._seconds = seconds
        self._over = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()

    def run(self) -> None:
        """Ask until `stop()` is called."""
        # A body that takes over when we have just asked is found all the same.
        pause = self._seconds / 4
        while not self._over.wait(pause):
            sign = threading.Event()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(sign.set)
            except RuntimeError:  # it was closed
                return
            if sign.wait(self._seconds - pause):
                continue
            self._warn()
            while not (sign.wait(pause) or self._over.is_set()):
                pass
            held = time.monotonic() - asked
            _logger.warning("The event loop goes on after %.1f s", held)

    def _warn(self) -> None:
        frame = sys._current_frames().get(self._watched)
        task = None
        with suppress(Exception):
            task = asyncio.current_task(self._loop)
        _logger.warning(
            "%s holds the event loop of this worker for over %.1f s (the setting "
            "`async_debug_slow`), and no other task goes on meanwhile. Await what "
            "takes so long, or make it a sync task, which has a thread:\n%s",
            "A callback" if task is None else f"Task {task.get_name()}",
            self._seconds,
            "".join(traceback.format_stack(frame)),
        )
