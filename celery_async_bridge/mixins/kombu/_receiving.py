"""Async callbacks of consumers: what a delivery in a bridge call does with them.

Upstream calls a callback and drops what it returns. Inside of a bridge call a coroutine
is awaited on the caller's loop: by the delivery itself, or, where a prefetch limit
above one says how many messages may be under way, beside the wait for the next ones.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from copy import copy
from functools import partial, wraps
from typing import Any

from ...core.carry import register_carrier
from ...core.conversation import Interrupted, current_conversation
from ...core.dispatch import perform
from ...core.graft import Seam
from ...core.relay import Relay
from ...core.trampoline import in_trampoline
from ._crew import crew_at, crew_of
from ._event import event_here
from ._plain import interrupt
from ._route import connection_of

__all__ = ("leave", "limit_of", "receiving_seams")

_LIMIT = "_bridge_limit"
_LINE = "_bridge_line"


class _Home(threading.local):
    """The way back to the loop of the call that the running thread executes."""

    relay: Relay | None = None


_home = _Home()


def _carrier() -> Callable[[], AbstractContextManager[Any]] | None:
    try:
        relay = Relay()
    except RuntimeError:  # no loop runs here
        return None

    @contextmanager
    def carried() -> Iterator[None]:
        before, _home.relay = _home.relay, relay
        try:
            yield
        finally:
            _home.relay = before

    return carried


register_carrier(_carrier, threads_only=True)


def _relay() -> Relay | None:
    if in_trampoline():
        return Relay()
    return None if current_conversation() is None else _home.relay


def _here() -> bool:
    return in_trampoline() or (
        current_conversation() is not None and _home.relay is not None
    )


def limit_of(consumer: Any) -> int:
    """Return the prefetch limit of a consumer, 0 for none."""
    qos = getattr(consumer.channel, "qos", None)
    limit = getattr(qos, "prefetch_count", None)
    if limit is None:
        # py-amqp's channel does not know its own.
        limit = vars(consumer).get(_LIMIT)
    return int(limit or 0)


def _handle(consumer: Any, work: Any) -> None:
    """Await the rest of the handling of a message, here or beside."""
    relay, event, limit = _relay(), event_here(), limit_of(consumer)
    assert relay is not None  # or we would not be here
    # py-amqp also looks for events before it publishes: a send, which has a deadline,
    # must not wait for callbacks.
    beside = limit > 1 if event is not None else not in_trampoline()
    owner = consumer._active_tags  # it is the same for copies of a consumer
    connection = connection_of(consumer.channel)
    crew, limit = crew_at(connection), max(limit, 1)
    try:
        if event is not None and crew.count(owner) >= limit:
            # They have acked before their end, or need no acks.
            relay.settle(crew.until(lambda: crew.count(owner) < limit))
        if beside:
            context = copy_context() if event is None else event.context
            crew.begin(owner, work, limit, context, relay._loop)
            interrupt(connection)
    except BaseException:
        getattr(work, "close", bool)()
        raise
    if not beside:
        relay.settle(work)
    elif event is not None:
        event.handed = True


class _Line:
    """The callbacks of a consumer for one message: from the first async one on, later.

    It stands in for the consumer, whose `receive` drops what its callbacks return. One
    that has met no async callback serves for the next message, too.

    Attributes:
        of: the callbacks that it is made for.
        consumer: the one whose message is handled; None while there is none.
    """

    def __init__(self, of: list[Any]) -> None:
        self.of = of
        self.consumer: Any = None
        self._begun: Any = None
        self._left: list[Any] = []
        self._args: tuple[Any, Any] = (None, None)
        self.callbacks = [self._step(callback) for callback in of]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)

    def _step(self, callback: Any) -> Callable[[Any, Any], None]:
        def step(body: Any, message: Any) -> None:
            if self._begun is not None:
                self._left.append(callback)
                return
            outcome = callback(body, message)
            if outcome is not None and inspect.isawaitable(outcome):
                self._begun, self._args = outcome, (body, message)

        return step

    def __await__(self) -> Generator[Any, Any, None]:
        return self._rest().__await__()

    async def _rest(self) -> None:
        await self._begun
        if self._left:
            view: Any = copy(self.consumer)
            view.callbacks = self._left
            await view.areceive(*self._args)

    def close(self) -> None:
        """Give up what has not been awaited."""
        getattr(self._begun, "close", bool)()


def _receive(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def receive(self: Any, body: Any, message: Any) -> Any:
        if not self.callbacks or not _here():
            return original(self, body, message)
        line = _line_of(self)
        line.consumer = self
        try:
            value = original(line, body, message)
        except BaseException:
            vars(self).pop(_LINE, None)
            line.close()
            raise
        if line._begun is None:
            line.consumer = None
        else:
            vars(self).pop(_LINE, None)
            _handle(self, line)
        return value

    return receive


def _line_of(consumer: Any) -> _Line:
    """Return the consumer's line, or a new one if it is in use or for others."""
    mine = vars(consumer)
    line: _Line | None = mine.get(_LINE)
    if line is None or line.consumer is not None or line.of != consumer.callbacks:
        line = mine[_LINE] = _Line([*consumer.callbacks])
    return line


def _receive_callback(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _receive_callback(self: Any, message: Any) -> Any:
        if not _here():
            return original(self, message)
        event, view = event_here(), self
        if self.on_decode_error and inspect.iscoroutinefunction(self.on_decode_error):
            relay = _relay()
            assert relay is not None  # we are in a bridge call
            view = copy(self)
            view.on_decode_error = relay.sync(self.on_decode_error)
        if event is not None:
            event.came = event.busy = True
        try:
            outcome = original(view, message)
            if outcome is not None and inspect.isawaitable(outcome):
                # Of `on_message`, or of a `receive` that is a coroutine function.
                _handle(self, outcome)
                return None
            return outcome
        finally:
            if event is not None:
                event.busy = False

    return _receive_callback


def _qos(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def qos(
        self: Any,
        prefetch_size: int = 0,
        prefetch_count: int = 0,
        apply_global: bool = False,
    ) -> Any:
        value = original(self, prefetch_size, prefetch_count, apply_global)
        vars(self)[_LIMIT] = prefetch_count
        return value

    return qos


#: Whether the twin of `__exit__` waits for the callbacks, after its deadline.
_twin_waits: ContextVar[bool] = ContextVar(
    "celery_async_bridge_twin_waits", default=False
)


_UNWINDING = (GeneratorExit, Interrupted)


def _exit(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __exit__(self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
        value = original(self, exc_type, exc_val, exc_tb)
        relay = None if _twin_waits.get() else _relay()
        if relay is None or not self.channel:
            return value
        crew = crew_of(connection_of(self.channel))
        if crew is not None and exc_type in _UNWINDING:
            # Nobody can wait any more.
            crew.cancel(self._active_tags)
        elif crew is not None:
            relay.settle(crew.finish(exc_type is not None, self._active_tags))
        return value

    return __exit__


async def leave(consumer: Any, exc_info: tuple[Any, Any, Any]) -> None:
    """Stop consuming, then wait for the callbacks that are at work.

    Raises:
        BaseException: what one of them has raised, unless there is an exception.
    """
    route = consumer._bridge_route()
    token = _twin_waits.set(True)
    try:
        call = partial(consumer.__exit__, *exc_info)
        await perform(route, call, deadline=route.deadline)
    finally:
        _twin_waits.reset(token)
    crew = crew_of(connection_of(consumer.channel)) if consumer.channel else None
    if crew is not None:
        await crew.finish(exc_info[0] is not None, consumer._active_tags)


def receiving_seams() -> list[Seam]:
    """Return the rows for the callbacks of consumers."""
    from kombu.messaging import Consumer

    why = "a callback may be a coroutine function"
    return [
        Seam(Consumer, "receive", _receive, "a", why),
        Seam(Consumer, "_receive_callback", _receive_callback, "a", why),
        Seam(Consumer, "__exit__", _exit, "a", "async callbacks end before a consumer"),
        Seam(Consumer, "qos", _qos, "d", "it says how many callbacks may be at work"),
    ]
