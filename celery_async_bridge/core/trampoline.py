"""Run a sync callable on the loop thread; await where it would block."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

__all__ = ("await_", "current_call", "in_trampoline", "spawn")

T = TypeVar("T")


class _Green(greenlet):
    """The greenlet of one trampolined call."""

    #: SQLAlchemy's `await_only` accepts any greenlet that carries this mark.
    __sqlalchemy_greenlet_provider__ = True

    def __init__(self, fn: Callable[[], Any]) -> None:
        driver = getcurrent()
        super().__init__(fn, driver)
        # The caller's own context, not a copy: what the sync code sets is visible to
        # the caller afterwards, as after a plain call.
        self.gr_context = driver.gr_context
        self.closing = False


def _current() -> _Green | None:
    try:
        current = getcurrent()
    except RuntimeError:  # the interpreter is going down
        return None
    return current if isinstance(current, _Green) else None


def current_call() -> object | None:
    """Return what stands for the running call; None outside of a trampoline."""
    return _current()


def in_trampoline() -> bool:
    """Whether the running code may call `await_`."""
    try:
        return isinstance(getcurrent(), _Green)
    except RuntimeError:  # the interpreter is going down
        return False


def await_(awaitable: Awaitable[T]) -> T:
    """Suspend the sync code until `awaitable` is done and return its result.

    Raises:
        RuntimeError: outside of a trampoline, or while its coroutine is being closed.
    """
    current = _current()
    if current is None or current.closing:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        if current is None:
            raise RuntimeError("await_() needs a call that spawn() has started")
        raise RuntimeError("the awaiting coroutine was closed")
    parent = current.parent
    assert parent is not None
    return cast("T", parent.switch(awaitable))


async def spawn(
    fn: Callable[[], T], on_cancel: Callable[[], object] | None = None
) -> T:
    """Run `fn` in a greenlet of this thread and await what it hands to `await_`.

    An exception, cancellation included, is raised in the sync code at the place that
    waits, so that its `except` and `finally` clauses run; `on_cancel` is called before
    a cancellation is.
    """
    green = _Green(fn)
    value = green.switch()
    while not green.dead:
        try:
            result = await value
        except GeneratorExit:
            # The coroutine is being closed: nothing can be awaited any more, so the
            # sync code may unwind but not wait.
            green.closing = True
            green.parent = getcurrent()
            green.throw(*sys.exc_info())
            raise
        except BaseException as exc:
            if on_cancel is not None and isinstance(exc, CancelledError):
                on_cancel()
            green.parent = getcurrent()
            value = green.throw(*sys.exc_info())
        else:
            green.parent = getcurrent()
            value = green.switch(result)
    return cast("T", value)
