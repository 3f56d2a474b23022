"""Twins for `kombu.pidbox`."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ...core.dispatch import perform, talk
from ...core.turn import turn_of
from .._twin import AsyncFn, compound, enters, leaf
from ._replies import alone
from ._route import bound_route, connection_of, route_of

if TYPE_CHECKING:
    from ...core.route import Route
    from .._twin import Entering

__all__ = ("MailboxMixin", "NodeMixin")

P = ParamSpec("P")
R = TypeVar("R")


def _fresh(mailbox: Any) -> Any:
    return alone(mailbox(mailbox.connection))


@cache
def _steady_class(cls: type) -> type:
    oid = property(lambda self: self.reply_queue.routing_key)
    return type(cls.__name__, (cls,), {"oid": oid, "__module__": cls.__module__})


def _steady(mailbox: Any) -> Any:
    """Return a copy that goes by the mailbox's reply queue in every thread."""
    _ = mailbox.reply_queue  # named here and now, for all copies
    bound = copy(mailbox)
    cls: Any = type(mailbox)
    bound.__class__ = _steady_class(cls)
    return bound


def _collects(
    make: Callable[[Any], Any], of: str
) -> Callable[[AsyncFn[P, R]], AsyncFn[P, R]]:
    """Twin of a method that collects replies.

    Upstream counts events, not replies: two calls that drain one connection would each
    count the other's. So calls on one connection take turns.
    """

    def decorate(fn: AsyncFn[P, R]) -> AsyncFn[P, R]:
        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            route: Route = self._bridge_route()
            call = partial(getattr(make(self), of), *args, **kwargs)
            if route.guard is None:
                return await talk(route, call, deadline=route.deadline)
            turn = turn_of(route.guard, "collect")
            await turn.acquire()
            try:
                return await talk(route, call, deadline=route.deadline)
            finally:
                turn.release()

        return compound(of, "wait")(cast("AsyncFn[P, R]", twin))

    return decorate


class MailboxMixin:
    """Awaitable methods of `kombu.pidbox.Mailbox`.

    Each runs natively where the connection's transport has a driver, else in a thread.
    Calls that collect replies have a reply queue each and take turns on a connection:
    bind the mailbox to another connection (`mailbox(connection)`) for parallel ones. A
    `callback` is an ordinary function.
    """

    connection: Any

    def _bridge_route(self) -> Route:
        return route_of(self.connection)

    @_collects(_fresh, "call")
    async def acall(
        self,
        destination: list[str] | tuple[str, ...],
        command: str,
        kwargs: dict[str, Any] | None = None,
        timeout: float | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
    ) -> list[Any]:
        """Send a command to some nodes and await their replies.

        Mirrors `kombu.pidbox.Mailbox.call`.

        Arguments:
            destination: host names; as many replies are awaited.
            command: the name of a handler.
            kwargs: the arguments of the command.
            timeout: seconds to wait for each reply; None waits until all are in.
            callback: called with each reply.
            channel: publish and consume there.

        Raises:
            ValueError: `destination` is no list.
            OperationalError: (`PublishTimeout`) not sent within 10 seconds.
        """
        ...

    @leaf
    async def acast(
        self,
        destination: list[str] | tuple[str, ...],
        command: str,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Await the sending of a command to some nodes, which do not reply.

        Mirrors `kombu.pidbox.Mailbox.cast`.

        Raises:
            ValueError: `destination` is no list.
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...

    @leaf(of="abcast")
    async def aabcast(self, command: str, kwargs: dict[str, Any] | None = None) -> None:
        """Await the sending of a command to all nodes, which do not reply.

        Mirrors `kombu.pidbox.Mailbox.abcast`, which is a sync method.

        Raises:
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...

    @_collects(_fresh, "multi_call")
    async def amulti_call(
        self,
        command: str,
        kwargs: dict[str, Any] | None = None,
        timeout: float | None = 1,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
    ) -> list[Any]:
        """Send a command to all nodes and await their replies.

        Mirrors `kombu.pidbox.Mailbox.multi_call`.

        Arguments:
            command: the name of a handler.
            kwargs: the arguments of the command.
            timeout: seconds to wait for each reply.
            limit: replies to wait for at most.
            callback: called with each reply.
            channel: publish and consume there.

        Raises:
            OperationalError: (`PublishTimeout`) not sent within 10 seconds.
        """
        ...

    @enters
    def aproducer_or_acquire(
        self, producer: Any = None, channel: Any = None
    ) -> Entering:
        """Give `producer`, or one of the pool, or a new one: for `async with`.

        Mirrors `kombu.pidbox.Mailbox.producer_or_acquire`.

        Raises:
            LimitExceeded: the pool is empty; it does not wait.
        """
        ...

    @_collects(_fresh, "_broadcast")
    async def _abroadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: list[str] | tuple[str, ...] | None = None,
        reply: bool = False,
        timeout: float | None = 1,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        serializer: str | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> list[Any] | None:
        """Send a command and await the replies, if there shall be any.

        Mirrors `kombu.pidbox.Mailbox._broadcast`.
        """
        ...

    @compound("_publish", "leaf")
    async def _apublish(
        self,
        type: str,
        arguments: dict[str, Any],
        destination: list[str] | tuple[str, ...] | None = None,
        reply_ticket: str | None = None,
        channel: Any = None,
        timeout: float | None = None,
        serializer: str | None = None,
        producer: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        """Await the sending of a command; `_acollect` gets the replies.

        Mirrors `kombu.pidbox.Mailbox._publish`.
        """
        route = self._bridge_route()
        call = partial(
            _steady(self)._publish,
            type,
            arguments,
            destination,
            reply_ticket,
            channel,
            timeout,
            serializer,
            producer,
            pattern,
            matcher,
        )
        await perform(route, call, deadline=route.deadline)

    @leaf(of="_publish_reply")
    async def _apublish_reply(
        self,
        reply: Any,
        exchange: str,
        routing_key: str,
        ticket: str,
        channel: Any = None,
        producer: Any = None,
        **opts: Any,
    ) -> None:
        """Await the sending of a reply.

        Mirrors `kombu.pidbox.Mailbox._publish_reply`.
        """
        ...

    @_collects(_steady, "_collect")
    async def _acollect(
        self,
        ticket: str,
        limit: int | None = None,
        timeout: float | None = 1,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        accept: list[str] | None = None,
    ) -> list[Any]:
        """Await the replies to what `_apublish` has sent with this ticket.

        Mirrors `kombu.pidbox.Mailbox._collect`.
        """
        ...


class NodeMixin:
    """Awaitable methods of `kombu.pidbox.Node`.

    Handlers of commands are ordinary functions; without a native driver they run in a
    thread.
    """

    channel: Any
    mailbox: Any

    def _bridge_route(self, channel: Any = None) -> Route:
        channel = channel or self.channel
        if connection_of(channel) is None:
            return route_of(self.mailbox.connection)
        return bound_route(channel)

    @leaf(via="channel")
    async def aConsumer(
        self,
        channel: Any = None,
        no_ack: bool = True,
        accept: list[str] | None = None,
        **options: Any,
    ) -> Any:
        """Await a consumer of the node's queue, declared and not started.

        Mirrors `kombu.pidbox.Node.Consumer`.

        Raises:
            InconsistencyError: another node of this name consumes exclusively.
        """
        ...

    @leaf(via="channel")
    async def alisten(
        self, channel: Any = None, callback: Callable[[Any, Any], Any] | None = None
    ) -> Any:
        """Await a consumer that hands commands to `handle_message`, or `callback`.

        Mirrors `kombu.pidbox.Node.listen`. Somebody must drain the connection.
        """
        ...

    @leaf(unbounded=True)
    async def adispatch(
        self,
        method: str,
        arguments: dict[str, Any] | None = None,
        reply_to: dict[str, str] | None = None,
        ticket: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Await the handler of a command and the sending of its reply.

        Mirrors `kombu.pidbox.Node.dispatch`: an error of the handler is the reply.
        """
        ...

    @leaf(unbounded=True)
    async def ahandle(
        self, method: str, arguments: dict[str, Any] | None = None
    ) -> Any:
        """Await the handler of a command.

        Mirrors `kombu.pidbox.Node.handle`.

        Raises:
            KeyError: there is no such handler.
        """
        ...

    @leaf(unbounded=True)
    async def ahandle_call(self, method: str, arguments: dict[str, Any] | None) -> Any:
        """Await the handler of a command that expects a reply.

        Mirrors `kombu.pidbox.Node.handle_call`.
        """
        ...

    @leaf(unbounded=True)
    async def ahandle_cast(self, method: str, arguments: dict[str, Any] | None) -> Any:
        """Await the handler of a command that expects no reply.

        Mirrors `kombu.pidbox.Node.handle_cast`.
        """
        ...

    @leaf(unbounded=True)
    async def ahandle_message(self, body: dict[str, Any], message: Any = None) -> Any:
        """Await the handling of a received command, if it is for this node.

        Mirrors `kombu.pidbox.Node.handle_message`.
        """
        ...

    @leaf
    async def areply(
        self,
        data: Any,
        exchange: str,
        routing_key: str,
        ticket: str,
        **kwargs: Any,
    ) -> None:
        """Await the sending of a reply.

        Mirrors `kombu.pidbox.Node.reply`.

        Raises:
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...
