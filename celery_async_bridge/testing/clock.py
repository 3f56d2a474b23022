"""Time that passes when a test says so, for `embedded://` and Celery on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, tzinfo
from importlib import import_module
from math import inf
from typing import Any

from celery.utils import timer2
from kombu.asynchronous import timer as kombu_timer
from typing_extensions import Self

from ..embedded import places
from ..embedded.clock import CLOCK

__all__ = ("VirtualTime", "virtual_time")

#: Seconds below which two times are one: Celery writes them in microseconds.
GRAIN = 1e-5


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class _Datetime(datetime, metaclass=_AnyDatetime):
    """What upstream asks for the time of day."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.fromtimestamp(CLOCK.time(), tz)


#: Upstream's looks at the clock: the module, the name in it, and what stands for it.
_NAMES: tuple[tuple[str, str, Any], ...] = (
    ("celery.app.base", "datetime", _Datetime),
    ("celery.worker.request", "datetime", _Datetime),
    ("kombu.asynchronous.timer", "monotonic", CLOCK.monotonic),
    ("kombu.asynchronous.timer", "_time", CLOCK.time),
    ("kombu.utils.limits", "monotonic", CLOCK.monotonic),
)


def _nearly_now() -> float:
    # The last digit of an `eta` must not decide: the next moment may never come.
    return CLOCK.monotonic() + GRAIN


#: Functions that have the clock among their defaults, which default it is, and what
#: stands for it.
_DEFAULTS: tuple[tuple[Any, int, Callable[[], float]], ...] = (
    (kombu_timer.to_timestamp, -1, CLOCK.monotonic),
    (kombu_timer.Timer.enter_at, -1, CLOCK.monotonic),
    (kombu_timer.Timer.enter_after, -1, CLOCK.monotonic),
    (kombu_timer.Timer.__iter__, 1, _nearly_now),
)


@contextmanager
def _named(path: str, name: str, value: Any) -> Iterator[None]:
    module = import_module(path)
    old = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, old)


@contextmanager
def _defaulted(function: Any, index: int, value: Any) -> Iterator[None]:
    old = function.__defaults__
    new = list(old)
    new[index] = value
    function.__defaults__ = tuple(new)
    try:
        yield
    finally:
        function.__defaults__ = old


class _LoopTime:
    """The clock of an event loop: that of the machine, and what was added."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read: Callable[[], float] = loop.time
        self._added = 0.0
        loop.time = self._now  # type: ignore[method-assign]

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _LoopTime:
        """Return the one that a loop has already, or a new one."""
        found = getattr(loop.time, "__self__", None)
        return found if isinstance(found, cls) else cls(loop)

    def _now(self) -> float:
        return self._read() + self._added

    def add(self, seconds: float) -> None:
        self._added += seconds
        try:
            # It sleeps until its next timer, as it was.
            self._loop.call_soon_threadsafe(lambda: None)
        except RuntimeError:  # the loop was closed
            return


class VirtualTime:
    """A clock that stands until it is moved; see `virtual_time`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._loop: _LoopTime | None = None

    # -- as a context manager, sync and async --------------------------------

    def __enter__(self) -> Self:
        if CLOCK.stands:
            raise RuntimeError("virtual_time() is in effect already: use its clock")
        with ExitStack() as stack:
            for row in _NAMES:
                stack.enter_context(_named(*row))
            for one in _DEFAULTS:
                stack.enter_context(_defaulted(*one))
            CLOCK.stop()
            stack.callback(_wake)
            stack.callback(CLOCK.go)
            self._stack = stack.pop_all()
        _wake()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def __aenter__(self) -> Self:
        self.__enter__()
        # Not taken back: what waits on the loop would wait for the time to come again.
        self._loop = _LoopTime.of(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__()

    # -- the time ------------------------------------------------------------

    def time(self) -> float:
        """Return the seconds since the epoch that it is now."""
        return CLOCK.time()

    def advance(self, seconds: float) -> None:
        """Let time pass; what becomes due meanwhile happens in its order.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        for _ in self._steps(seconds):
            pass

    async def aadvance(self, seconds: float) -> None:
        """Let time pass; the loop runs between two things that become due.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        for _ in self._steps(seconds):
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _steps(self, seconds: float) -> Iterator[None]:
        if seconds < 0:
            raise ValueError(f"time does not go back (by {seconds} s)")
        end = CLOCK.monotonic() + seconds
        while (now := CLOCK.monotonic()) < end or _next() <= now + GRAIN:
            # Where both are the same but for the last digit, it is due.
            step = max(_next(), now) - now
            if now + step > end + GRAIN:
                step = end - now
            CLOCK.advance(step)
            if self._loop is not None:
                self._loop.add(step)
            _wake()
            yield


def _next() -> float:
    """Return when something is due next in a broker; infinite for never."""
    whens = (one.timers.when() for one in places.brokers())
    return min((one for one in whens if one is not None), default=inf)


def _wake() -> None:
    """Have all look at the clock: brokers, who waits for them, Celery's timers."""
    for broker in places.brokers():
        with broker.turn():
            waiting = list(broker.waiters)
        for wake in waiting:
            wake()
    for thread in threading.enumerate():
        if isinstance(thread, timer2.Timer):
            timer: Any = thread
            with timer.not_empty:
                timer.not_empty.notify_all()


def virtual_time() -> VirtualTime:
    """Return a context manager, sync or async, in which time stands until it is moved.

    `with virtual_time() as clock:` and `clock.advance(3600)`, or `async with` and
    `await clock.aadvance(3600)`. It holds for all of the process: for `embedded://`
    brokers (TTL, `eta`, `countdown`, expiring queues) and results, and for Celery's
    own looks at the clock when it sends (`countdown`, `expires`) and in workers that
    are started inside (`expires`, rate limits). With `async with` the running loop's
    clock, which goes on by itself, is moved as well: a task's time limits, and every
    `asyncio.sleep`, `timeout` and `wait_for` on it.

    Other loops, threads that sleep, and `time.time()` in tasks are not concerned.

    Raises:
        RuntimeError: on entry; it is in effect already.
    """
    return VirtualTime()
