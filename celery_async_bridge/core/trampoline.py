"""Run a sync callable on the loop thread; await where it would block."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Generator, Iterator
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from types import FrameType

__all__ = (
    "Hand",
    "Pending",
    "await_",
    "current_call",
    "frames",
    "in_trampoline",
    "spawn",
)

T = TypeVar("T")


class _Green(greenlet):
    """The greenlet of one trampolined call."""

    #: SQLAlchemy's `await_only` accepts any greenlet that carries this mark.
    __sqlalchemy_greenlet_provider__ = True

    def __init__(self, fn: Callable[..., Any]) -> None:
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


def frames() -> Iterator[FrameType]:
    """Yield the frames that led here, the innermost first.

    Those of the coroutines that await the call come behind its own: a greenlet has a
    stack of its own.
    """
    green = getcurrent()
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]
        if frame is None and isinstance(green, _Green):
            green = green.parent
            frame = green.gr_frame


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
    try:
        return cast("T", parent.switch(awaitable))
    finally:
        # A future that has failed refers to this frame: garbage for the collector.
        del awaitable


async def spawn(
    fn: Callable[[], T], on_cancel: Callable[[], object] | None = None
) -> T:
    """Run `fn` in a greenlet of this thread and await what it hands to `await_`.

    An exception, cancellation included, is raised in the sync code at the place that
    waits, so that its `except` and `finally` clauses run; `on_cancel` is called before
    a cancellation is.
    """
    green = _Green(fn)
    return cast("T", await _driven(green, green.switch(), on_cancel))


async def _driven(
    green: _Green, value: Any, on_cancel: Callable[[], object] | None = None
) -> Any:
    """Await what a greenlet hands out until its call is over; return the last value."""
    while not (green.dead or value is _OVER):
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
            value = None  # see `await_`
            value = green.throw(*sys.exc_info())
        else:
            green.parent = getcurrent()
            value = green.switch(result)
    return value


#: What a kept greenlet hands out when its call is over.
_OVER = object()


class _Kept(_Green):
    """A greenlet that runs one call after the other."""

    def __init__(self) -> None:
        super().__init__(self._work)
        self.thread = get_ident()
        self.value: Any = None
        self.failure: BaseException | None = None

    def _work(self, fn: Callable[[], Any] | None) -> None:
        while fn is not None:
            try:
                self.value = fn()
            except BaseException as exc:
                self.failure = exc
            parent = self.parent
            assert parent is not None
            # Nothing of the call may live on while the next one is waited for.
            fn = None
            fn = parent.switch(_OVER)


class Hand:
    """Runs sync calls that come by the thousand and mostly wait for nothing.

    As `spawn`, without a greenlet made for each. One hand belongs to one loop.
    """

    def __init__(self) -> None:
        self._idle: list[_Kept] = []

    def begin(self, fn: Callable[[], T]) -> T | Pending:
        """Run `fn` up to where it waits; what it returns, if it has not waited."""
        here, idle = getcurrent(), self._idle
        green = idle.pop() if idle else _Kept()
        if green.thread != get_ident():  # the loop goes on in another thread
            green = _Kept()
        if green.parent is not here:
            green.parent = here
        green.gr_context = here.gr_context
        value = green.switch(fn)
        if value is not _OVER:
            return Pending(self, green, value)
        found: T = self.end(green)
        return found

    async def run(
        self, fn: Callable[[], T], on_cancel: Callable[[], object] | None = None
    ) -> T:
        """Run `fn` as `spawn` does."""
        value = self.begin(fn)
        if type(value) is Pending:
            value = await value.rest(on_cancel)
        return cast("T", value)

    def end(self, green: _Kept) -> Any:
        """Return what the call has, whose greenlet is free again."""
        failure, found = green.failure, green.value
        green.failure = green.value = green.gr_context = None
        self._idle.append(green)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # or the traceback keeps itself, and the call, alive
        return found


class Pending:
    """A call of a hand that waits; it must be awaited, once."""

    __slots__ = ("_green", "_hand", "_value")

    def __init__(self, hand: Hand, green: _Kept, value: Any) -> None:
        self._hand = hand
        self._green = green
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.rest().__await__()

    async def rest(self, on_cancel: Callable[[], object] | None = None) -> Any:
        """Go on to the end, as `spawn` does."""
        value, self._value = self._value, None
        await _driven(self._green, value, on_cancel)
        return self._hand.end(self._green)
