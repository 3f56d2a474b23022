"""A bounded, daemonic, fork-aware thread pool: one lane per broker or backend URL."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Any

__all__ = ("Job", "Lane", "at_thread_end", "lane_for", "lanes")

#: Seconds after which a thread without work ends.
IDLE = 10.0

_endings: list[Callable[[], object]] = []


def at_thread_end(fn: Callable[[], object]) -> None:
    """Have each thread of a lane call `fn` when it has had no work and ends.

    It must not raise.
    """
    if fn not in _endings:
        _endings.append(fn)


class Job:
    """One sync call on its way through a lane."""

    __slots__ = ("_lane", "abandoned", "finished", "fn", "future", "started")

    def __init__(self, lane: Lane, fn: Callable[[], Any]) -> None:
        self.fn = fn
        #: What the caller awaits; it may be settled while a thread still works.
        self.future: Future[Any] = Future()
        #: Done when no thread works on the job (any more).
        self.finished: Future[None] = Future()
        self.started = False
        self.abandoned = False
        self._lane = lane

    def abandon(self, error: Callable[[bool], BaseException] | None = None) -> bool:
        """Stop waiting for the job; one that no thread has taken is dropped.

        A thread cannot be interrupted: a job that has started is counted as stuck in
        its lane until the thread comes back.

        Arguments:
            error: makes what the caller gets; it is told whether a thread had started.

        Returns:
            Whether this has settled what the caller awaits.
        """
        dropped = settled = False
        with self._lane.mutex:
            if not self.started:
                dropped = self._lane.drop(self)
            elif not self.finished.done():
                self.abandoned = True
            # Under the mutex: `run` must not find the future half settled.
            if error is None:
                settled = self.future.cancel()
            else:
                with suppress(InvalidStateError):
                    self.future.set_exception(error(self.started))
                    settled = True
        if dropped:
            self.finished.set_result(None)
        return settled

    def run(self) -> None:
        """Run the call in the current thread and settle its futures."""
        result: Any = None
        error: BaseException | None = None
        with self._lane.mutex:
            wanted = (
                not self.future.done() and self.future.set_running_or_notify_cancel()
            )
        try:
            if wanted:
                try:
                    result = self.fn()
                except BaseException as exc:
                    error = exc
            # Before anybody hears of it: who then adds a job finds this thread free.
            self._lane.done(self)
            self.finished.set_result(None)
            # An abandoned future has its outcome already; its caller is gone.
            with suppress(InvalidStateError):
                if wanted and error is None:
                    self.future.set_result(result)
                elif error is not None:
                    self.future.set_exception(error)
        finally:
            # The traceback refers to this frame: without this, whatever the call
            # held would live until the garbage collector comes round.
            del result, error, self


class Lane(Executor):
    """Threads for the calls to one server.

    The threads are daemons that `concurrent.futures` does not know: its exit hook
    joins every worker, so one black-holed broker would keep the interpreter alive.
    """

    def __init__(self, name: str, limit: int, *, keep: bool = False) -> None:
        self.name = name
        self.limit = limit
        #: Whether idle threads stay: upstream names things after a pinned thread.
        self.keep = keep
        self.mutex = threading.RLock()
        self._ready = threading.Condition(self.mutex)
        self._queue: deque[Job] = deque()
        self._running: set[Job] = set()
        self._threads = 0
        self._free = 0
        self._serial = 0

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Queue a call (the `Executor` interface)."""
        return self.add(lambda: fn(*args, **kwargs)).future

    def add(self, fn: Callable[[], Any]) -> Job:
        """Queue a call and return its job."""
        job = Job(self, fn)
        with self.mutex:
            self._queue.append(job)
            if self._free >= len(self._queue):
                self._ready.notify()
            elif self._threads < self.limit:
                self._grow(job)
        return job

    def _grow(self, job: Job) -> None:
        self._serial += 1
        thread = threading.Thread(
            target=self._work,
            name=f"celery-async-{self.name}-{self._serial}",
            daemon=True,
        )
        self._threads += 1
        self._free += 1
        try:
            thread.start()
        except RuntimeError:  # the system, or an ending interpreter, gives no more
            self._threads -= 1
            self._free -= 1
            if not self._threads:
                self.drop(job)
                raise

    def drop(self, job: Job) -> bool:
        """Take a job that has not started out of the queue (mutex held)."""
        try:
            self._queue.remove(job)
        except ValueError:
            return False
        return True

    def done(self, job: Job) -> None:
        """Count the thread of a job as free again."""
        with self.mutex:
            self._running.discard(job)
            self._free += 1

    def _next(self) -> Job | None:
        with self.mutex:
            while not self._queue:
                signalled = self._ready.wait(None if self.keep else IDLE)
                if not signalled and not self._queue:
                    self._threads -= 1
                    self._free -= 1
                    return None
            job = self._queue.popleft()
            job.started = True
            self._free -= 1
            self._running.add(job)
            return job

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            del job
        for fn in _endings:
            fn()

    @property
    def stuck(self) -> int:
        """Threads that still run a call which nobody waits for any more."""
        with self.mutex:
            return sum(job.abandoned for job in self._running)

    def status(self) -> dict[str, int]:
        """Counts for `explain()` and for error messages."""
        with self.mutex:
            return {
                "threads": self._threads,
                "limit": self.limit,
                "running": len(self._running),
                "queued": len(self._queue),
                "stuck": self.stuck,
            }


_lanes: dict[Hashable, Lane] = {}
_lanes_lock = threading.Lock()


def lane_for(key: Hashable, name: str, limit: int, *, keep: bool = False) -> Lane:
    """Return the lane of a server, creating it on first use."""
    lane = _lanes.get(key)
    if lane is None:
        with _lanes_lock:
            lane = _lanes.setdefault(key, Lane(name, limit, keep=keep))
    lane.limit = limit
    return lane


def lanes() -> dict[Hashable, Lane]:
    """Return all lanes of this process."""
    with _lanes_lock:
        return dict(_lanes)


def _after_fork() -> None:
    # The threads stayed in the parent and a lock may have been held at the fork:
    # the child starts with neither.
    global _lanes_lock
    _lanes_lock = threading.Lock()
    _lanes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
