"""Async tasks where upstream calls a task like a function: what they return is awaited.

`link_error` with a task of three parameters (request, exception, traceback) is not
sent: the process in which the task failed calls it. `Task.map` and `Task.starmap` are
tasks that call another one for each item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from ....core.graft import Seam

__all__ = ("MAPS", "as_errback", "calling", "errback_seams")

#: Upstream's tasks that call the task which their first argument names.
MAPS = frozenset({"celery.map", "celery.starmap"})

_calling: ContextVar[bool] = ContextVar("celery_async_errbacks", default=False)


@contextmanager
def as_errback() -> Iterator[bool]:
    """Tell whether upstream calls a task like a function, and not a body."""
    called = _calling.get()
    if not called:
        yield False
        return
    token = _calling.set(False)
    try:
        yield True
    finally:
        _calling.reset(token)


@contextmanager
def calling() -> Iterator[None]:
    """Have tasks that are called like functions in the block awaited."""
    token = _calling.set(True)
    try:
        yield
    finally:
        _calling.reset(token)


def _call(
    prepare: Callable[[Any], Any], original: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(original)
    def _call_task_errbacks(self: Any, request: Any, exc: Any, traceback: Any) -> Any:
        for errback in request.errbacks:
            task = self.app.tasks.get(errback["task"])
            if task is not None:
                prepare(task)
        with calling():
            return original(self, request, exc, traceback)

    return _call_task_errbacks


def errback_seams(prepare: Callable[[Any], Any]) -> list[Seam]:
    """Return the row that lets async error callbacks be awaited.

    Arguments:
        prepare: is called with a task before it is called as an error callback.
    """
    from celery.backends.base import Backend

    why = "the coroutine of an async error callback must be awaited, not dropped"
    return [Seam(Backend, "_call_task_errbacks", partial(_call, prepare), "c", why)]
