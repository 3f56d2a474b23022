"""Waits for an event, where async callbacks may be at work meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any

from ._crew import Crew, crew_of
from ._plain import Plain

if TYPE_CHECKING:
    from ...core.conversation import Conversation
    from ...core.turn import Turn

__all__ = (
    "Event",
    "delivered",
    "delivered_here",
    "drained",
    "drained_blocking",
    "event_here",
)


class Event:
    """What a wait learns of the message that it delivers."""

    __slots__ = ("busy", "came", "context", "handed")

    def __init__(self) -> None:
        #: That of the one who waits: what a driver notes in its own during a delivery
        #: is over when an async callback runs.
        self.context = copy_context()
        #: Whether code of the user runs now.
        self.busy = False
        #: Whether a message has reached a consumer.
        self.came = False
        #: Whether an async callback goes on by itself.
        self.handed = False


#: What a wait gives that has ended because a callback has.
_NEWS = object()

_event: ContextVar[Event | None] = ContextVar("celery_async_bridge_event", default=None)


def event_here() -> Event | None:
    """Return the event that is being waited for."""
    return _event.get()


def _reset(token: Token[Event | None]) -> None:
    try:
        _event.reset(token)
    except ValueError:
        # Closed by the collector, a wait may end in another context.
        return


def delivered(
    connection: Any,
    at_once: Callable[[Any, float | None], Any],
    options: dict[str, Any],
) -> bool | Awaitable[bool] | None:
    """Deliver an event, at once if there is one already.

    Arguments:
        connection: Kombu's.
        at_once: delivers; it returns whether there was something, to be awaited if it
            cannot tell at once.
        options: holds the `timeout` in seconds, if there is one; what is left of it
            when `drained` must go on.

    Returns:
        whether a message has been handled, or what tells when it is awaited; else
        `drained` must go on.
    """
    event = Event()
    token = _event.set(event)
    came: Any = None
    try:
        came = at_once(connection, options.get("timeout"))
    finally:
        if came is True or not came:
            _event.reset(token)
    if came is True or not came:
        return came and not (event.handed and _goes_on(connection, event))
    return _delivered(connection, event, token, came, options)


async def _delivered(
    connection: Any,
    event: Event,
    token: Token[Event | None],
    rest: Awaitable[bool],
    options: dict[str, Any],
) -> bool:
    clock = asyncio.get_running_loop().time
    timeout, began = options.get("timeout"), clock()
    came = False
    try:
        with Plain(connection, event):
            came = await rest
    finally:
        _reset(token)
    if timeout is not None:
        options["timeout"] = max(timeout - (clock() - began), 0.0)
    return came and not _goes_on(connection, event)


def delivered_here(
    connection: Any, drain: Callable[[Any, float | None], Any], timeout: float | None
) -> bool:
    """Do `drain(connection, timeout)` in a trampoline, where no callback is at work.

    Returns:
        whether a message has been handled; else `drained` must go on.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
    """
    if crew_of(connection) is not None:
        return False
    event = Event()
    token = _event.set(event)
    try:
        with Plain(connection, event) as plain:
            drain(connection, timeout)
    finally:
        _reset(token)
    return not (plain.told or _goes_on(connection, event))


def _goes_on(connection: Any, event: Event) -> bool:
    """Whether an async callback goes on by itself; the next wait is to know of it."""
    crew = crew_of(connection)
    if not event.handed or crew is None:
        return False
    crew.handed = True
    return True


async def drained(
    connection: Any,
    drain: Callable[[Any, float | None], Awaitable[Any]],
    timeout: float | None,
) -> Any:
    """Await `drain(connection, seconds)` until a message has been handled.

    Raises:
        TimeoutError: nothing came, and no callback ended, within `timeout` seconds.
        BaseException: what a callback has raised.
    """
    clock = asyncio.get_running_loop().time
    end = None if timeout is None else clock() + timeout
    came = False
    while True:
        crew = crew_of(connection)
        if crew is not None:
            came, crew.handed = came or crew.handed, False
            if crew.report():
                return None
        left = end if end is None else max(end - clock(), 0.0)
        if came and left == 0.0:
            return None
        event = Event()
        try:
            if crew is None or not crew.members:
                token = _event.set(event)
                try:
                    with Plain(connection, event) as plain:
                        value = await drain(connection, left)
                finally:
                    _reset(token)
                if plain.told and not event.came:
                    continue
            else:
                value = await _or_news(event, crew, drain, connection, left)
        except TimeoutError:
            if _is_missed(event, crew, came):
                raise
            came = True
            continue
        if _is_news(event, crew, value):
            continue  # somebody else may be told of it
        if not event.handed:
            return None if value is _NEWS else value
        came = True


def _is_missed(event: Event, crew: Crew | None, came: bool) -> bool:
    """Whether a wait whose time is up has not been answered by a callback's end."""
    return event.came or not (came or (crew is not None and crew.news))


def _is_news(event: Event, crew: Crew | None, value: Any) -> bool:
    """Whether a wait has ended without a message, because a callback has ended."""
    return not event.came and (value is _NEWS or (crew is not None and bool(crew.news)))


async def _or_news(
    event: Event, crew: Crew, drain: Any, connection: Any, left: float | None
) -> Any:
    """Drain, but no longer than until a callback ends: then the value is `_NEWS`."""

    async def wait() -> Any:
        token = _event.set(event)
        try:
            return await drain(connection, left)
        finally:
            _reset(token)

    call = asyncio.ensure_future(wait())
    news = asyncio.ensure_future(crew.until(lambda: crew.news))
    try:
        await asyncio.wait({call, news}, return_when=asyncio.FIRST_COMPLETED)
        if event.busy:
            await asyncio.wait({call})
    finally:
        call.cancel()
        news.cancel()
        await asyncio.wait({call, news})
    return _NEWS if call.cancelled() else call.result()


def drained_blocking(
    connection: Any,
    wait: Callable[[float], Any],
    talk: Conversation,
    turn: Turn,
    timeout: float | None,
) -> Any:
    """Do in a bridge thread what `drained` does on the loop."""
    end = None if timeout is None else time.monotonic() + timeout
    came = False
    while True:
        crew = crew_of(connection)
        if crew is not None and crew.report():
            return None
        left = end if end is None else max(end - time.monotonic(), 0.0)
        if came and left == 0.0:
            return None
        event = Event()
        try:
            look = _looking(connection, event, wait)
            value = talk.sliced(look, left, socket.timeout, turn)
        except TimeoutError:
            if _is_missed(event, crew, came):
                raise
            came = True
            continue
        if _is_news(event, crew, value):
            continue  # somebody else may be told of it
        if not event.handed:
            return None if value is _NEWS else value
        came = True


def _looking(
    connection: Any, event: Event, wait: Callable[[float], Any]
) -> Callable[[float], Any]:
    crew = crew_of(connection)

    def look(seconds: float) -> Any:
        # It may have got one meanwhile.
        now = crew_of(connection)
        if now is not None and now.news:
            return _NEWS
        token = _event.set(event)
        try:
            return wait(seconds)
        finally:
            _reset(token)

    # One that rings is not cut into slices, in which we would notice an end.
    look.rings = getattr(wait, "rings", False) and not (crew and crew.members)  # type: ignore[attr-defined]
    return look
