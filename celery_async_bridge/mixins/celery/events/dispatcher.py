"""Twins for `celery.events.dispatcher`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from ....core.dispatch import is_native, perform
from ....core.turn import turn_of
from ..._twin import compound
from ...kombu._route import broker_of
from .._route import app_route
from .._sending import connection_given, options_given, positions

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("EventDispatcherMixin",)

_OMITTED: Any = object()
Self = TypeVar("Self", bound="EventDispatcherMixin")


def _alone(fn: Any) -> Any:
    """Twin of a method that holds the dispatcher's lock while it publishes.

    Two greenlets of one loop must never both want that lock: the second would block the
    thread that the first needs to go on.
    """
    name = fn.__name__[1:]
    places = positions(fn)

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self, name), *args, **kwargs)
        given = options_given(places, args, kwargs)
        route = self._bridge_route(connection_given(given))
        if not is_native(route):
            return await perform(route, call, deadline=route.deadline)
        turn = turn_of(self)
        await turn.acquire(route.deadline)
        try:
            return await perform(route, call, deadline=route.deadline)
        finally:
            turn.release()

    return compound(name, "leaf")(twin)


class EventDispatcherMixin:
    """Awaitable methods of `celery.events.EventDispatcher`.

    Each runs natively where the broker has a driver, else in a thread that has the
    connection to itself. Deadline: the setting `async_publish_timeout`. A dispatcher
    that buffers while offline keeps what it cannot send, as in upstream; else an
    `OperationalError` is raised, `PublishTimeout` after the deadline.
    """

    if TYPE_CHECKING:
        app: Any
        connection: Any

    def _bridge_route(self, connection: Any = None) -> Route:
        connection = connection or self.connection
        route = app_route(self.app)
        if connection is None:
            return replace(route, guard=self)
        return replace(route, endpoints=(broker_of(connection),), guard=connection)

    @_alone
    async def apublish(
        self,
        type: str,
        fields: dict[str, Any],
        producer: Any,
        blind: bool = False,
        Event: Callable[..., Any] = _OMITTED,
        **kwargs: Any,
    ) -> None:
        """Await the sending of one event with a producer of the caller.

        Mirrors `celery.events.dispatcher.EventDispatcher.publish`.

        Arguments:
            type: the event type, as in `"task-sent"`.
            fields: what the event says.
            producer: the producer to send with.
            blind: leave the logical clock out.
            Event: makes the event.
            kwargs: `retry`, `retry_policy` and `utcoffset`.
        """
        ...

    @_alone
    async def asend(
        self,
        type: str,
        blind: bool = False,
        utcoffset: Callable[[], int] = _OMITTED,
        retry: bool = False,
        retry_policy: dict[str, Any] | None = None,
        Event: Callable[..., Any] = _OMITTED,
        **fields: Any,
    ) -> None:
        """Await the sending of one event, or its way into the buffer of its group.

        Mirrors `celery.events.dispatcher.EventDispatcher.send`.

        Arguments:
            type: the event type, as in `"task-sent"`.
            blind: leave the logical clock out.
            utcoffset: gives the offset of the local time in hours.
            retry: try again when the connection is lost.
            retry_policy: how often and when.
            Event: makes the event.
            fields: what the event says.
        """
        ...

    @_alone
    async def aflush(self, errors: bool = True, groups: bool = True) -> None:
        """Await the sending of all events in the buffers.

        Mirrors `celery.events.dispatcher.EventDispatcher.flush`.

        Arguments:
            errors: those that could not be sent before.
            groups: those that are sent in groups.
        """
        ...

    @_alone
    async def aclose(self) -> None:
        """Await the end of a running publish, and stop publishing.

        Mirrors `celery.events.dispatcher.EventDispatcher.close`.
        """
        ...

    @_alone
    async def aenable(self) -> None:
        """Await the start of publishing, and the callbacks in `on_enabled`.

        Mirrors `celery.events.dispatcher.EventDispatcher.enable`.
        """
        ...

    @_alone
    async def adisable(self) -> None:
        """Await the end of publishing, and the callbacks in `on_disabled`.

        Mirrors `celery.events.dispatcher.EventDispatcher.disable`.
        """
        ...

    async def __aenter__(self: Self) -> Self:
        """Enter the dispatcher, to close it at the end of the block."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Await the closing of the dispatcher, as `aclose` does."""
        await self.aclose()
