"""Choose the tier of a call: on the loop in a trampoline, or in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from .carry import capture
from .gate import gate
from .offload import converse, offload
from .registry import driver_for, is_armed
from .route import Expired, Route
from .taps import Outcome, in_flight, outcome, retries_uncertain
from .trampoline import spawn
from .turn import turn_of

if TYPE_CHECKING:
    from contextvars import ContextVar, Token

    from .registry import Driver

__all__ = ("is_native", "perform", "stream", "talk")

#: Seconds after which a call that is out of time and waits again is cancelled again.
INSIST = 0.25

T = TypeVar("T")
_END = object()


def is_native(route: Route, *, waiting: bool = False) -> bool:
    """Whether every server of the route has a native driver that may be used.

    Arguments:
        route: where the call goes.
        waiting: whether the call waits for what others do, rather than for an answer.
    """
    return bool(_drivers(route, waiting))


def _drivers(route: Route, waiting: bool = False) -> list[Driver]:
    """Return the driver of each server of a native route; of any other, none."""
    found: list[Driver] = []
    if is_armed():
        for endpoint in route.endpoints:
            driver = driver_for(endpoint.scheme, endpoint.side)
            if driver is None or not driver.takes(endpoint):
                return []
            if waiting and endpoint.side not in driver.waits:
                return []
            found.append(driver)
    return found


async def perform(
    route: Route,
    fn: Callable[[], T],
    *,
    deadline: float | None = None,
    undo: Callable[[T], object] | None = None,
    queued: bool = False,
) -> T:
    """Run a sync call that talks to a server and returns when it is answered.

    Arguments:
        route: where the call goes.
        fn: the call.
        deadline: seconds, or None.
        undo: takes back a value that nobody receives, because the caller has left.
        queued: the call has passed the gate already.
    """
    drivers = _drivers(route)
    if not queued:
        # In threads the calls compete for the interpreter with the loop itself.
        await gate(route.starts if drivers else route.starts // 4)
    if drivers:
        suspends = any(driver.suspends for driver in drivers)
        if suspends and route.guard is not None:
            return await _in_turn(route, capture(fn), deadline)
        return await _bounded(route, capture(fn), deadline, suspends)
    return await offload(route, fn, deadline=deadline, undo=undo)


async def talk(
    route: Route,
    fn: Callable[[], T],
    *,
    deadline: float | None = None,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Run a sync call that waits for events, for as long as it takes.

    `deadline` bounds the way to the first wait, where the call runs in a thread.
    """
    if is_native(route, waiting=True):
        return await spawn(capture(fn))
    return await converse(route, fn, deadline=deadline, undo=undo)


async def stream(
    route: Route, make: Callable[[], Iterator[Any]]
) -> AsyncGenerator[Any, None]:
    """Iterate over a sync generator that waits between its values.

    No thread is held between two values. Leaving the loop closes the generator.
    """
    values = await talk(route, lambda: iter(make()))
    close = getattr(values, "close", lambda: None)

    def step() -> Any:
        return next(values, _END)

    try:
        while (value := await talk(route, step, undo=lambda _: close())) is not _END:
            yield value
    finally:
        # A thread that still executes it was told to unwind, or closes it afterwards.
        if not getattr(values, "gi_running", False):
            # In the tier that ran the generator: its clean-up uses the same sockets.
            if is_native(route, waiting=True):
                await perform(route, close)
            else:
                await offload(route, close)


async def _in_turn(route: Route, fn: Callable[[], T], deadline: float | None) -> T:
    turn = turn_of(route.guard)
    end = None if deadline is None else asyncio.get_running_loop().time() + deadline
    try:
        await turn.acquire(deadline)
    except TimeoutError:
        raise _expired(route, deadline, uncertain=False) from None
    try:
        if end is not None:
            deadline = max(end - asyncio.get_running_loop().time(), 0.0)
        return await _bounded(route, fn, deadline, suspends=True)
    finally:
        turn.release()


def _expired(route: Route, seconds: float | None, *, uncertain: bool) -> BaseException:
    return route.expired(Expired(route.label, seconds or 0.0, uncertain, 0, 0))


async def _bounded(
    route: Route, fn: Callable[[], T], deadline: float | None, suspends: bool
) -> T:
    if not suspends:
        return await _timed(route, fn, deadline, None)
    tokens: list[tuple[ContextVar[Any], Token[Any]]] = [
        (outcome, outcome.set(Outcome()))
    ]
    if not route.retries_uncertain:
        tokens.append((retries_uncertain, retries_uncertain.set(False)))
    if route.in_flight != in_flight.get():
        tokens.append((in_flight, in_flight.set(route.in_flight)))
    try:
        return await _timed(route, fn, deadline, outcome.get())
    finally:
        for variable, token in tokens:
            variable.reset(token)


async def _timed(
    route: Route,
    fn: Callable[[], T],
    deadline: float | None,
    known: Outcome | None,
) -> T:
    if deadline is None:
        return await spawn(fn)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # we run in a coroutine
    cancels = 0
    timer: asyncio.TimerHandle

    def expire() -> None:
        nonlocal cancels, timer
        cancels += 1
        task.cancel()
        # A `finally` clause of the call may wait once more.
        timer = loop.call_later(INSIST, expire)

    def stop() -> None:
        # Once somebody else has cancelled the call the deadline has nothing to end.
        if not cancels:
            timer.cancel()

    timer = loop.call_later(deadline, expire)
    try:
        return await spawn(fn, on_cancel=stop)
    except asyncio.CancelledError:
        if cancels and not _taken_back(task, cancels):
            cancels = 0
            uncertain = known is None or known.uncertain
            raise _expired(route, deadline, uncertain=uncertain) from None
        cancels = 0
        raise
    finally:
        timer.cancel()
        _taken_back(task, cancels)


def _taken_back(task: asyncio.Task[Any], cancels: int) -> int:
    """Take back our cancellations; return how many others there are."""
    # From 3.11 on a task counts them: somebody else may have cancelled it, too.
    uncancel = getattr(task, "uncancel", None)
    if uncancel is None:
        return 0
    left: int = task.cancelling()  # type: ignore[attr-defined,unused-ignore]
    for _ in range(cancels):
        left = uncancel()
    return left
