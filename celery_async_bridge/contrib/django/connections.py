"""Database connections of what the bridge runs outside of requests.

Django closes those that are old or broken at the borders of a request, in the thread of
the request. Here the borders are those of a task, and of a call in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections, connections

from ...core.carry import register_carrier, unregister_carrier
from ...core.lane import Lane, at_thread_end
from ...core.offload import sensitive_to
from ...mixins.celery._route import run_with_django
from ...worker.scopes import register_scope, unregister_scope

if TYPE_CHECKING:
    from ...core.lane import Job

__all__ = ("TaskThread", "in_own_thread", "leave_alone", "look_after")

_logger = getLogger(__name__)

#: Threads that no task has, the one used last at the right.
_free: deque[Lane] = deque()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free.clear)


def _tidy() -> None:
    try:
        close_old_connections()
    except Exception:
        # What was done with the connection has its outcome, which this must not change.
        _logger.warning("a database connection does not close", exc_info=True)


def _close_all() -> None:
    try:
        connections.close_all()
    except Exception:
        _logger.warning("a database connection does not close", exc_info=True)


@contextmanager
def _tidied() -> Iterator[None]:
    _tidy()
    try:
        yield
    finally:
        _tidy()


def _around_lane_call() -> Callable[[], AbstractContextManager[None]]:
    # Result backends and receivers of signals may use the ORM in the bridge's threads.
    return _tidied


class TaskThread(Executor):
    """The thread in which one task has its database connections, if it uses any.

    It is taken when the task asks for it first, and given back with the connections
    that `CONN_MAX_AGE` lets live; the next task goes on with them.
    """

    def __init__(self) -> None:
        self._lane: Lane | None = None

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Queue a call (the `Executor` interface)."""
        lane = self._lane
        if lane is None:
            try:
                lane = _free.pop()
            except IndexError:
                lane = Lane("django", 1)
            # A transaction may be open in it: it must not end while the task lives.
            lane.keep = True
            self._lane = lane
            lane.add(_tidy)
        return lane.submit(fn, *args, **kwargs)

    def leave(self) -> Job | None:
        """Give the thread back, once it has done what it was asked to."""
        lane, self._lane = self._lane, None
        return None if lane is None else lane.add(partial(_give_back, lane))


def _undo() -> None:
    # A task was cancelled, or forgot. Django leaves such connections alone, and the
    # next task would find itself in the transaction.
    for one in connections.all(initialized_only=True):
        if one.in_atomic_block:
            one.in_atomic_block = False
            try:
                one.close()
            finally:
                del connections[one.alias]


def _give_back(lane: Lane) -> None:
    try:
        _undo()
    except Exception:
        _logger.warning("a transaction cannot be undone", exc_info=True)
    _tidy()
    lane.keep = False
    _free.append(lane)


@asynccontextmanager
async def in_own_thread() -> AsyncIterator[None]:
    """Give a task a thread of its own for the ORM, as Django gives each request one.

    Transactions of tasks that run at once do not mix. The connections are looked after
    when the thread is taken and before the task is over.
    """
    thread = TaskThread()
    try:
        with sensitive_to(thread):
            yield
    finally:
        job = thread.leave()
    if job is not None:
        # Not the future itself: cancelled, it would take the job out of the queue.
        await asyncio.wait({asyncio.wrap_future(job.finished)})


def look_after() -> None:
    """Look after the connections of this process from now on."""
    at_thread_end(_close_all)
    register_carrier(_around_lane_call, lanes_only=True)
    register_scope(in_own_thread)
    run_with_django(True)


def leave_alone() -> None:
    """Look after no connection any more, but those of threads that end."""
    unregister_carrier(_around_lane_call)
    unregister_scope(in_own_thread)
    run_with_django(False)
