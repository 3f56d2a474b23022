"""Time limits of an async body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from ..errors import AsyncBodyError

__all__ = ("Limited",)

_LEAKED = (
    "the body was left by a CancelledError, but nobody has cancelled the task: "
    "catch it where the body awaits what it has cancelled"
)


class Limited:
    """An awaitable whose wait can be ended with an exception of our choice.

    `asyncio.Task.cancel` can only raise `CancelledError` in a body; a soft time limit
    must raise `SoftTimeLimitExceeded`, which the body may catch.

    Arguments:
        name: what the task of the loop is called while it runs the body.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        self._ended = False

    def raises(self, error: BaseException) -> None:
        """Raise `error` in the body, where it waits now; nothing if it does not run."""
        if self._task is not None:
            self._error = error
            self._task.cancel()

    def end(self) -> None:
        """Cancel the body, where it waits now, and do not take that for its error."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    def guard(self, value: Awaitable[Any]) -> Awaitable[Any]:
        """Return `value` with this handle on it."""
        return _Guarded(self, value)

    def run(self, value: Awaitable[Any]) -> Generator[Any, Any, Any]:
        """Wait for `value` (the body of `__await__`)."""
        self._task = task = asyncio.current_task()
        if task is not None and self._name:
            task.set_name(self._name)
        inner = _awaited(value)
        step: Callable[[Any], Any] = inner.send
        given: Any = None
        try:
            while True:
                try:
                    waits_for = step(given)
                except StopIteration as done:
                    return done.value
                except asyncio.CancelledError as exc:
                    if self._ended or _is_cancelling(task):
                        raise
                    # To upstream's tracer a cancellation is no outcome: the task
                    # would have neither a state nor an end.
                    raise AsyncBodyError(_LEAKED) from exc
                try:
                    given = yield waits_for
                    step = inner.send
                except BaseException as exc:
                    given = self._replaced(exc, task)
                    step = inner.throw
        finally:
            self._task = None

    def _replaced(
        self, exc: BaseException, task: asyncio.Task[Any] | None
    ) -> BaseException:
        if self._error is None or not isinstance(exc, asyncio.CancelledError):
            return exc
        error, self._error = self._error, None
        uncancel = getattr(task, "uncancel", None)
        if uncancel is not None:
            uncancel()
        return error


def _is_cancelling(task: asyncio.Task[Any] | None) -> bool:
    cancelling = getattr(task, "cancelling", None)  # not before Python 3.11
    return cancelling is not None and bool(cancelling())


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


class _Guarded:
    def __init__(self, limited: Limited, value: Awaitable[Any]) -> None:
        self._limited = limited
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._limited.run(self._value)

    def close(self) -> None:
        close = getattr(self._value, "close", None)
        if close is not None:
            close()
