"""Remote control: commands, and the waiting for replies to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ...core.dispatch import perform, talk
from ...core.graft import Seam
from ...core.route import Expired
from ...core.turn import turn_of
from .._twin import compound
from ..kombu._replies import alone
from ..kombu._route import broker_of
from ._route import app_route
from ._sending import options_given, positions

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("ask", "command_route", "commands", "on_own_channel", "seams", "tell")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(slots=True)
class _Command:
    """A remote-control call of the bridge.

    Attributes:
        asks: it waits for replies.
        begun: a thread or greenlet has taken it.
        sent: it has reached the broker.
    """

    asks: bool
    begun: bool = False
    sent: bool = False


_running: ContextVar[_Command | None] = ContextVar("command", default=None)


def command_route(app: Any, connection: Any = None) -> Route:
    """Route of a command, on a pooled connection or on the caller's own."""
    route = app_route(app)
    if connection is None:
        return route
    return replace(route, endpoints=(broker_of(connection),), guard=connection)


def on_own_channel(
    call: Callable[[], T], command: _Command | None = None
) -> Callable[[], T]:
    """Have the mailbox publish on the connection that the command has anyway.

    Upstream takes a second connection from the same pool while it holds the first. As
    many commands at once as the pool has connections would wait for each other for
    ever; and the producer pool is asked without blocking, so a burst is refused.
    """
    command = command or _Command(asks=False)

    def run() -> T:
        command.begun = True
        token = _running.set(command)
        try:
            return call()
        finally:
            _running.reset(token)

    return run


async def tell(app: Any, call: Callable[[], T], connection: Any = None) -> T:
    """Run a command that returns when it is sent."""
    route = command_route(app, connection)
    return await perform(route, on_own_channel(call), deadline=route.deadline)


async def ask(app: Any, call: Callable[[], T], connection: Any = None) -> T:
    """Run a command that waits for replies; the deadline is for sending it."""
    route = command_route(app, connection)
    command = _Command(asks=True)
    if connection is None:
        return await _sent_in_time(route, command, call)
    # Upstream counts events, not replies: on one connection two calls would each count
    # the other's.
    turn = turn_of(connection, "collect")
    await turn.acquire()
    try:
        return await _sent_in_time(route, command, call)
    finally:
        turn.release()


async def _sent_in_time(route: Route, command: _Command, call: Callable[[], T]) -> T:
    from kombu.pidbox import Mailbox

    asking = asyncio.ensure_future(talk(route, on_own_channel(call, command)))
    # Without the seams nobody says when it was sent.
    told = hasattr(Mailbox.producer_or_acquire, "__bridge__")
    try:
        await asyncio.wait({asking}, timeout=route.deadline if told else None)
        if not asking.done() and not command.sent:
            asking.cancel()  # unwinds by itself, as far as a thread can be reached
            late = Expired(route.label, route.deadline or 0.0, command.begun, 0, 0)
            raise route.expired(late)
        return await asking
    except asyncio.CancelledError:
        asking.cancel()
        await asyncio.wait({asking})
        raise


def commands(
    *, asks: bool = False
) -> Callable[
    [Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]
]:
    """Twin of a command: a send, or a wait if replies are wanted.

    Arguments:
        asks: it always wants replies; else the caller says so with `reply`.
    """

    def decorate(fn: Any) -> Any:
        name = fn.__name__[1:]
        places = positions(fn)

        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            given = options_given(places, args, kwargs)
            call = partial(getattr(self, name), *args, **kwargs)
            run = ask if asks or given.get("reply") else tell
            return await run(self.app, call, given.get("connection"))

        return compound(name, "wait" if asks else "leaf")(twin)

    return decorate


def _private(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _acquire_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
        command = _running.get()
        if command is not None and command.asks:
            return original(self, pool=False)
        return original(self, *args, **kwargs)

    return _acquire_connection


def _own_channel(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    @contextmanager
    def producer_or_acquire(
        self: Any, producer: Any = None, channel: Any = None
    ) -> Iterator[Any]:
        command = _running.get()
        if not producer and channel is not None and command is not None:
            from kombu import Producer

            producer = Producer(channel, auto_declare=False)
        with original(self, producer, channel) as found:
            yield found
        if command is not None:
            command.sent = True

    producer_or_acquire.__bridge__ = True  # type: ignore[attr-defined]
    return producer_or_acquire


def _own_queue(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def bind(self: Any, connection: Any) -> Any:
        command = _running.get()
        if command is None or not command.asks:
            return original(self, connection)
        return alone(original(self, connection))

    return bind


def seams() -> list[Seam]:
    """Return the rows of remote control for the table of seams."""
    from celery import Celery
    from kombu.pidbox import Mailbox

    return [
        Seam(
            Celery,
            "_acquire_connection",
            _private,
            "a",
            "a wait for replies must not hold a connection that sends need",
        ),
        Seam(
            Mailbox,
            "__call__",
            _own_queue,
            "a",
            "late replies to one call must not be taken for those to the next",
        ),
        Seam(
            Mailbox,
            "producer_or_acquire",
            _own_channel,
            "a",
            "commands that each need two pooled connections wait for each other",
        ),
    ]
