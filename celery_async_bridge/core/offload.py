"""The only place where a call leaves the loop for a thread."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asgiref.sync import (
    SyncToAsync,
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)

from .carry import capture
from .conversation import Conversation
from .lane import Job, Lane, lane_for
from .route import Expired, Route
from .turn import Turn, turn_of

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future, ThreadPoolExecutor

__all__ = ("converse", "hand_back", "offload", "sensitive_to", "thread_host")

T = TypeVar("T")

#: Seconds that a cancelled conversation is given to end its slice and unwind.
GRACE = 2.0

_logger = logging.getLogger(__name__)


async def offload(
    route: Route,
    fn: Callable[[], T],
    *,
    deadline: float | None = None,
    began: float | None = None,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Run a sync call in a thread of the route's lane and await its result.

    Context variables and what the carriers take along are visible in the thread.
    Cancelled before a thread has picked the call up, it never runs; afterwards it goes
    on to its next pause between retries, or to its end, and is counted as stuck until
    then; its result is discarded, by `undo(result)` where there is one.

    `deadline` is in seconds, from `began` (a time of the loop) or now; None: there is
    none.

    Raises:
        BaseException: what the call raises, or `route.expired(...)` at the deadline.
    """
    if route.sensitive:
        return await sync_to_async(capture(fn, thread=True), thread_sensitive=True)()
    loop = asyncio.get_running_loop()
    now = loop.time()
    end = None if deadline is None else (now if began is None else began) + deadline
    turn = None if route.guard is None else turn_of(route.guard)
    lane = _lane(route)
    if turn is not None:
        try:
            await turn.acquire(None if end is None else max(end - now, 0.0))
        except TimeoutError:
            raise _expired(route, lane, deadline, False) from None
    call = _Call(lane, Conversation(turn), capture(fn, lane=True), undo, turn)

    def expire() -> None:
        call.expire(lambda started: _expired(route, lane, deadline, started))

    timer = None if end is None else loop.call_at(end, expire)
    try:
        return await call.run()
    except asyncio.CancelledError:
        if call.leave() and undo is not None:
            with suppress(Exception):
                await offload(route, call.take_back, deadline=GRACE)
        raise
    finally:
        if timer is not None:
            timer.cancel()


async def converse(
    route: Route,
    fn: Callable[[], T],
    *,
    deadline: float | None = None,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Run a sync call that may wait for events; the wait can be cancelled.

    It runs in a lane of its own, so that waiting never takes the threads that sends
    need. Cancellation makes the running slice of the wait raise in the thread and is
    passed on when the thread has unwound; a value that had arrived goes to `undo`.

    Arguments:
        route: where the call goes.
        fn: the call.
        deadline: seconds until the call has come to its first wait or pause (so, for
            connecting and subscribing); the wait itself has none.
        undo: takes back a value that nobody receives.
    """
    turn = None if route.guard is None else turn_of(route.guard)
    talk = Conversation(turn, lends=True)
    lane = _lane(route, "wait")

    def in_turn() -> T:
        # The thread takes the turn, and not the coroutine before: a call that queues
        # for a thread of a full lane must not keep others from the connection.
        with talk.taking_turn():
            return fn()

    def back_in_turn(value: T) -> None:
        assert undo is not None
        if turn is not None:
            turn.acquire_blocking()
        try:
            undo(value)
        finally:
            if turn is not None:
                turn.release()

    call = _Call(lane, talk, capture(in_turn, lane=True), undo and back_in_turn)

    def expire() -> None:
        if not talk.waits:
            call.expire(lambda started: _expired(route, lane, deadline, started))

    loop = asyncio.get_running_loop()
    timer = None if deadline is None else loop.call_later(deadline, expire)
    try:
        return await call.run()
    except asyncio.CancelledError:
        if call.leave() and undo is not None:
            free = replace(route, guard=None)
            with suppress(Exception):
                await offload(free, call.take_back, deadline=GRACE)
        await call.ended(GRACE)
        raise
    finally:
        if timer is not None:
            timer.cancel()


def thread_host() -> asyncio.AbstractEventLoop | None:
    """Return the running loop for which asgiref has this thread work, if there is one.

    None in the thread of a running loop, which cannot wait for another one.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return None
    here = SyncToAsync.threadlocal
    loop: asyncio.AbstractEventLoop | None = getattr(here, "main_event_loop", None)
    if loop is None or getattr(here, "main_event_loop_pid", None) != os.getpid():
        return None
    return loop if loop.is_running() else None


def hand_back(make: Callable[[], Awaitable[T]]) -> T:
    """Await what `make` returns on the loop of `thread_host()`, from its thread.

    Meanwhile the thread runs what is sensitive to it, so that the coroutine may ask for
    it. The coroutine has the context of the thread.
    """

    async def awaited() -> T:
        return await make()

    return async_to_sync(awaited)()


@contextmanager
def sensitive_to(executor: Executor) -> Iterator[None]:
    """Have asgiref run in `executor` what the block has run thread-sensitively.

    Arguments:
        executor: runs one call at a time, in one thread; it is not shut down.
    """
    context = ThreadSensitiveContext()
    # Not by `async with`: its end would shut the executor down, and releases of asgiref
    # before 3.13 take none.
    token = SyncToAsync.thread_sensitive_context.set(context)
    executors: Any = SyncToAsync.context_to_thread_executor
    executors[context] = executor
    try:
        yield
    finally:
        del executors[context]
        SyncToAsync.thread_sensitive_context.reset(token)


class _Call(Generic[T]):
    """One call in a thread; also the executor of exactly this call."""

    def __init__(
        self,
        lane: Lane,
        talk: Conversation,
        fn: Callable[[], T],
        undo: Callable[[T], object] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self._lane = lane
        self._talk = talk
        self._fn = fn
        self._undo = undo
        self._turn = turn
        self._job: Job | None = None
        self._landed: list[T] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Queue what asgiref has made of the call."""
        self._job = job = self._lane.add(lambda: fn(*args))
        if self._turn is not None:
            release = self._turn.release
            # Not when the caller has gone, but when the thread has let go.
            job.finished.add_done_callback(lambda _: release())
        return job.future

    async def run(self) -> T:
        """Await the call."""
        try:
            # asgiref asks of an executor no more than `submit`.
            me = cast("ThreadPoolExecutor", self)
            speak = sync_to_async(self._speak, thread_sensitive=False, executor=me)
            return await speak()
        finally:
            if self._job is None and self._turn is not None:
                self._turn.release()

    def _speak(self) -> T:
        with self._talk.entered():
            self._talk.check()
            try:
                value = self._fn()
            except StopIteration as exc:
                # A future refuses StopIteration and would leave the caller waiting.
                raise RuntimeError("the call raised StopIteration") from exc
        if self._undo is not None:
            self._landed.append(value)
            if not self._talk.land():
                self.take_back()
        return value

    def take_back(self) -> None:
        """Undo a value that came when the caller had gone."""
        try:
            for value in self._landed:
                assert self._undo is not None
                self._undo(value)
        except Exception:
            _logger.warning("could not take back a value that came late", exc_info=True)

    def leave(self) -> bool:
        """Stop waiting; True if a value had landed that nobody has received."""
        landed = self._talk.leave()
        if self._job is not None:
            self._job.abandon()
        return landed

    def expire(self, error: Callable[[bool], BaseException]) -> None:
        """End the wait with an exception, unless there is an outcome."""
        if self._job is None or self._job.future.done():
            return
        # In this order: what the thread raises when it is left is not the outcome.
        if self._job.abandon(error) and self._talk.leave():
            self._lane.add(self.take_back)  # it landed in between

    async def ended(self, timeout: float) -> None:
        """Wait until no thread works on the call, at most `timeout` seconds."""
        if self._job is None:
            return
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def tell(_: Future[None]) -> None:
            with suppress(RuntimeError):  # a late end may find the loop closed
                loop.call_soon_threadsafe(event.set)

        self._job.finished.add_done_callback(tell)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), timeout)


def _lane(route: Route, role: str = "call") -> Lane:
    if route.pin is not None:
        return lane_for(("pin", route.pin), "pinned", 1, keep=True)
    first = route.endpoints[0] if route.endpoints else None
    name = "local" if first is None else first.scheme
    key = None if first is None else first.key
    return lane_for((role, key), f"{role}-{name}", route.threads)


def _expired(
    route: Route, lane: Lane, deadline: float | None, uncertain: bool
) -> BaseException:
    return route.expired(
        Expired(
            route.label,
            deadline or 0.0,
            uncertain,
            lane.stuck,
            lane.limit,
        )
    )
