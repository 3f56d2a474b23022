"""Error callbacks that are async tasks, where upstream calls them like functions.

`link_error` with a task of three parameters (request, exception, traceback) is not
sent: the process in which the task failed calls it. What an async one returns there
must be awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from ....core.graft import Seam

__all__ = ("as_errback", "errback_seams")

_calling: ContextVar[bool] = ContextVar("celery_async_errbacks", default=False)


@contextmanager
def as_errback() -> Iterator[bool]:
    """Tell whether this is the call of an error callback; what that calls is not."""
    called = _calling.get()
    if not called:
        yield False
        return
    token = _calling.set(False)
    try:
        yield True
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
        token = _calling.set(True)
        try:
            return original(self, request, exc, traceback)
        finally:
            _calling.reset(token)

    return _call_task_errbacks


def errback_seams(prepare: Callable[[Any], Any]) -> list[Seam]:
    """Return the row that lets async error callbacks be awaited.

    Arguments:
        prepare: is called with a task before it is called as an error callback.
    """
    from celery.backends.base import Backend

    why = "the coroutine of an async error callback must be awaited, not dropped"
    return [Seam(Backend, "_call_task_errbacks", partial(_call, prepare), "c", why)]
