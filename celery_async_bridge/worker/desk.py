"""Which jobs of a pool run and which wait, where the loop keeps the books."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger

from .batch import Batch

if TYPE_CHECKING:
    from .job import Job

__all__ = ("CALLBACKS", "Desk")

_logger = get_logger("celery.pool")

#: What `BasePool.on_apply` may be given to call.
CALLBACKS = ("accept_callback", "callback", "error_callback", "timeout_callback")


class Desk:
    """Hands jobs to the loop, not more than `limit` at once.

    The callbacks of a job are called where it runs: on the loop, or in its thread.

    Arguments:
        loop: where jobs run.
        limit: how many run at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.loop = loop
        self.limit = limit
        self.waiting: deque[Job] = deque()
        self.running: set[Job] = set()
        self._inbox = Batch(self._wake)
        self._context = contextvars.copy_context()
        self._count = threading.Condition()
        self._handed = 0

    def _wake(self, fn: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(fn)

    def routed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a job with callbacks that arrive where they should."""
        return options

    def on_loop(self, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn` on the loop (from any thread)."""
        self._inbox.add(fn, *args)

    def take(self, job: Job) -> None:
        """Run a job when there is room (from any thread)."""
        with self._count:
            self._handed += 1
        self._inbox.add(self._enqueue, job)

    def resize(self, limit: int) -> None:
        """Change how many jobs run at once."""
        self.limit = limit
        self._inbox.add(self._fill)

    def _enqueue(self, job: Job) -> None:
        self.waiting.append(job)
        self._fill()

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.limit:
            job = self.waiting.popleft()
            self.running.add(job)
            self._start(job)

    def _start(self, job: Job) -> None:
        # Not in the context of whoever woke the loop for this batch.
        task = self._context.copy().run(asyncio.ensure_future, job.run())
        job.task = task
        task.add_done_callback(partial(self._done, job))

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        job.task = None
        if not task.cancelled() and task.exception() is not None:
            _logger.error("Pool job crashed", exc_info=task.exception())
        self._finish(job)

    def _finish(self, job: Job) -> None:
        self.running.discard(job)
        with self._count:
            self._handed -= 1
            self._count.notify_all()
        self._fill()

    def flush(self) -> None:
        """Forget what waits, if the broker delivers it again; here it does not."""

    def settle(self, seconds: float | None) -> bool:
        """Wait until no job is left, at most `seconds`; False if some are."""
        with self._count:
            return self._count.wait_for(lambda: not self._handed, seconds)

    def drop(self) -> None:
        """End what runs and forget what waits; sync bodies go on in their threads."""
        self._inbox.add(self._drop)

    def _drop(self) -> None:
        with self._count:
            self._handed -= len(self.waiting)
            self._count.notify_all()
        self.waiting.clear()
        for job in list(self.running):
            job.drop()
