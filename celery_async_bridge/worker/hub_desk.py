"""The books of a pool whose worker runs Kombu's event loop, the hub.

All of them are kept in the hub's thread, as those of the prefork pool are: callbacks,
and with them acks, events and the worker's state, never meet in two threads. A job
starts only when the hub has room for it, so while the main thread waits out a soft
shutdown nothing new begins.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger

from ..mixins.celery._stacks import hosted
from .batch import Batch
from .desk import CALLBACKS, Desk

if TYPE_CHECKING:
    from .job import Job

__all__ = ("HubDesk",)

_logger = get_logger("celery.pool")


class HubDesk(Desk):
    """Hands jobs to the loop from the hub's thread, and what they report back.

    Arguments:
        loop: where jobs run.
        limit: how many run at once.
        hub: Kombu's event loop.
        flush: writes what was settled, which the hub does in its turns.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        hub: Any,
        flush: Callable[[], object] = bool,
    ) -> None:
        super().__init__(loop, limit)
        self.hub = hub
        self._flush_acks = flush
        self._outbox = Batch(self._wake_hub)
        #: Rings while the hub does not run. Signal handlers use it in the thread that
        #: waits for it, so it must not be made of locks.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def _wake_hub(self, fn: Callable[[], None]) -> None:
        # What ends in one turn of the loop goes in one batch: each wake-up costs a
        # system call, and the two threads the lock of the interpreter.
        if _running_loop() is self.loop:
            self.loop.call_soon(self.hub.call_soon, fn)
        else:
            self.hub.call_soon(fn)

    def routed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Have the callbacks called in the hub's thread."""
        found = dict(options)
        for name in CALLBACKS:
            if options.get(name) is not None:
                found[name] = self._posting(options[name])
        return found

    def _posting(self, fn: Callable[..., Any]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            # They may come to async hooks of a task, which belong on our loop.
            with hosted(self.loop):
                fn(*args, **kwargs)

        def post(*args: Any, **kwargs: Any) -> None:
            self._outbox.add(lambda: call(*args, **kwargs))

        return post

    def take(self, job: Job) -> None:
        """Run a job when there is room (from the hub's thread)."""
        self._enqueue(job)

    def resize(self, limit: int) -> None:
        """Change how many jobs run at once."""
        self.limit = limit
        self._fill()

    def _start(self, job: Job) -> None:
        self.on_loop(super()._start, job)

    def _finish(self, job: Job) -> None:
        self._outbox.add(self._finished, job)

    def _finished(self, job: Job) -> None:
        self.running.discard(job)
        self._fill()

    def flush(self) -> None:
        """Forget what waits: none of it is acknowledged, so it is delivered again."""
        self.waiting.clear()

    def settle(self, seconds: float | None) -> bool:
        """Do the hub's part until nothing runs: it has ended, or waits for us."""
        end = None if seconds is None else time.monotonic() + seconds
        self._outbox.wake = self._ring
        try:
            while True:
                self._outbox.run()
                _run_acks(self.hub)
                self._write_acks()
                if not self.running:
                    return True
                try:
                    left = None if end is None else max(end - time.monotonic(), 0.0)
                    self._bell.get(timeout=left)
                except queue.Empty:
                    return False
        finally:
            # A signal handler may have settled in the middle of our wait.
            self._bell.put(None)

    def _write_acks(self) -> None:
        try:
            self._flush_acks()
        except Exception as exc:
            # The tasks go on; what was not written is delivered again.
            _logger.error("Couldn't ack: %r", exc, exc_info=True)

    def _ring(self, _: Callable[[], None]) -> None:
        self._bell.put(None)

    def drop(self) -> None:
        """End what runs and forget what waits; sync bodies go on in their threads."""
        self.waiting.clear()
        for job in list(self.running):
            self.on_loop(job.drop)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_acks(hub: Any) -> None:
    # As prefork does while it waits for its processes; older releases leave it all to
    # the end of the hub.
    from celery.concurrency import prefork

    run = getattr(prefork, "_run_ready_callbacks", None)
    if run is not None:
        run(hub)
