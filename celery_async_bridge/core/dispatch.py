"""Choose the tier of a call: on the loop in a trampoline, or in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .carry import capture
from .deadlines import deadlines_of
from .gate import enter, gate, go_on
from .offload import converse, offload
from .places import places_of
from .registry import driver_for, is_armed
from .registry import suspends as suspends_at
from .route import Expired, Route
from .taps import Outcome, in_flight, outcome, retries_uncertain
from .trampoline import Pending, spawn
from .turn import turn_of

if TYPE_CHECKING:
    from contextvars import ContextVar, Token

    from .registry import Driver
    from .trampoline import Hand

__all__ = ("is_native", "perform", "perform_now", "stream", "talk")

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


def _suspends(route: Route, drivers: list[Driver]) -> bool:
    return any(map(suspends_at, route.endpoints, drivers))


async def perform(
    route: Route,
    fn: Callable[[], T],
    *,
    deadline: float | None = None,
    began: float | None = None,
    undo: Callable[[T], object] | None = None,
    queued: bool = False,
    heavy: bool = False,
) -> T:
    """Run a sync call that talks to a server and returns when it is answered.

    Arguments:
        route: where the call goes.
        fn: the call.
        deadline: seconds, or None.
        began: the time of the loop from which they count; now by default.
        undo: takes back a value that nobody receives, because the caller has left.
        queued: the call has passed the gate already.
        heavy: on the loop it holds many objects while it waits, so only so many of its
            kind run at once for one server.
    """
    if began is None:
        began = asyncio.get_running_loop().time()
    drivers = _drivers(route)
    if not (heavy and _suspends(route, drivers)):
        return await _perform(route, fn, drivers, deadline, began, undo, queued)
    places = places_of(route.endpoints[0].key)
    waits = not places.take()
    if waits and not await places.join(deadline, began):
        raise _expired(route, deadline, uncertain=False)
    try:
        if waits:
            # The replies to many come together, and so do their places to others.
            await go_on(route.starts // 2)
            queued = True
        return await _perform(route, fn, drivers, deadline, began, undo, queued)
    finally:
        places.leave()


async def _perform(
    route: Route,
    fn: Callable[[], T],
    drivers: list[Driver],
    deadline: float | None,
    began: float,
    undo: Callable[[T], object] | None,
    queued: bool,
) -> T:
    if not queued:
        # In threads the calls compete for the interpreter with the loop itself.
        starts = route.starts if drivers else route.starts // 4
        if not await gate(starts, deadline, began):
            raise _expired(route, deadline, uncertain=False)
    if drivers:
        suspends = _suspends(route, drivers)
        if suspends and route.guard is not None and not route.reentrant:
            return await _in_turn(route, capture(fn), deadline, began)
        return await _bounded(route, capture(fn), deadline, began, suspends)
    return await offload(route, fn, deadline=deadline, began=began, undo=undo)


async def perform_now(
    find: Callable[[], Route],
    fn: Callable[[], T],
    hand: Hand,
    deadline: float,
    starts: int = 0,
) -> T:
    """Run a call as `perform` does, that need not wait for others while it runs.

    Arguments:
        find: says where the call goes, should somebody have to be told.
        fn: the call.
        hand: runs it; what has it to give knows that the route is native.
        deadline: seconds.
        starts: calls that may start in one turn of the loop; 0: it need not wait for
            its start, either.
    """
    began = None
    if starts and not enter(starts, deadline):
        began = asyncio.get_running_loop().time()
        if not await gate(starts, deadline, began):
            raise _expired(find(), deadline, uncertain=False)
    known = Outcome()
    token = outcome.set(known)
    try:
        value = hand.begin(capture(fn))
        if type(value) is Pending:
            if began is None:
                began = asyncio.get_running_loop().time()
            return await _timed(find, value.rest, deadline, began, known)
        return cast("T", value)
    finally:
        outcome.reset(token)


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


async def _in_turn(
    route: Route, fn: Callable[[], T], deadline: float | None, began: float
) -> T:
    turn = turn_of(route.guard)
    try:
        await turn.acquire(_left(deadline, began))
    except TimeoutError:
        raise _expired(route, deadline, uncertain=False) from None
    try:
        return await _bounded(route, fn, deadline, began, suspends=True)
    finally:
        turn.release()


def _left(deadline: float | None, began: float) -> float | None:
    if deadline is None:
        return None
    return max(began + deadline - asyncio.get_running_loop().time(), 0.0)


def _expired(route: Route, seconds: float | None, *, uncertain: bool) -> BaseException:
    return route.expired(Expired(route.label, seconds or 0.0, uncertain, 0, 0))


async def _bounded(
    route: Route,
    fn: Callable[[], T],
    deadline: float | None,
    began: float,
    suspends: bool,
) -> T:
    def find() -> Route:
        return route

    if not suspends:
        return await _timed(find, partial(spawn, fn), deadline, began, None)
    tokens: list[tuple[ContextVar[Any], Token[Any]]] = [
        (outcome, outcome.set(Outcome()))
    ]
    if not route.retries_uncertain:
        tokens.append((retries_uncertain, retries_uncertain.set(False)))
    if route.in_flight != in_flight.get():
        tokens.append((in_flight, in_flight.set(route.in_flight)))
    try:
        run = partial(spawn, fn)
        return await _timed(find, run, deadline, began, outcome.get())
    finally:
        for variable, token in tokens:
            variable.reset(token)


class _Limit:
    """Cancels a call that is out of time.

    Arguments:
        task: the task that makes the call.

    Attributes:
        cancels: how often it has.
    """

    __slots__ = ("_task", "_timer", "cancels")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task: asyncio.Task[Any] | None = task
        self._timer: asyncio.TimerHandle | None = None
        self.cancels = 0

    def done(self) -> bool:
        """Whether there is nothing to cancel any more."""
        return self._task is None

    def set_result(self, _: object = None) -> None:
        """Cancel it: its time is up."""
        if self._task is not None:
            self.cancels += 1
            self._task.cancel()
            # A `finally` clause of the call may wait once more.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(INSIST, self.set_result)

    def stop(self) -> None:
        """End nothing, unless it has begun to: somebody else has cancelled the call."""
        if not self.cancels:
            self.end()

    def end(self) -> None:
        """Let go of the call: it is over."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _timed(
    find: Callable[[], Route],
    run: Callable[..., Awaitable[T]],
    deadline: float | None,
    began: float,
    known: Outcome | None,
) -> T:
    if deadline is None:
        return await run()
    task = asyncio.current_task()
    assert task is not None  # we run in a coroutine
    limit = _Limit(task)
    deadlines_of(deadline, "call").watch(limit, began + deadline)
    try:
        return await run(limit.stop)
    except asyncio.CancelledError:
        if not limit.cancels:
            raise
        cancels, limit.cancels = limit.cancels, 0
        if _taken_back(task, cancels):
            raise
    finally:
        limit.end()
        _taken_back(task, limit.cancels)
    # Not above: with the cancellation for its context the error would keep all that
    # upstream's code had in hand when it was unwound.
    raise _expired(find(), deadline, uncertain=known is None or known.uncertain)


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
