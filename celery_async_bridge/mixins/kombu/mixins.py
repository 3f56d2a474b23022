"""Twins for `kombu.mixins`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._twin import enters, leaf, reads, streams, waits
from ._route import bound_route, route_of

if TYPE_CHECKING:
    from ...core.route import Route
    from .._twin import Entering

__all__ = ("ConsumerMixinMixin", "ConsumerProducerMixinMixin")


class ConsumerMixinMixin:
    """Awaitable methods of `kombu.mixins.ConsumerMixin`.

    The consumer program opens a connection of its own, so nothing waits for the one in
    `self.connection`. Callbacks of its consumers may be coroutine functions, as many at
    once as their prefetch limit says; hooks stay ordinary functions. Without a native
    driver these run in a thread: one that `arun` keeps as long as it runs, and that
    does not count among those that sends use. Setting `should_stop` ends it, as ever;
    cancelling the awaiting task does so within the running slice of its wait.
    """

    connection: Any

    def _bridge_route(self) -> Route:
        return replace(route_of(self.connection), guard=None)

    def _bridge_hook(self, bound: Any) -> Route:
        return bound_route(bound)

    def _bridge_message(self, message: Any) -> Route:
        return bound_route(message.channel)

    @waits
    async def arun(self, _tokens: int = 1, **kwargs: Any) -> None:
        """Consume until `should_stop` is set or the awaiting task is cancelled.

        Mirrors `kombu.mixins.ConsumerMixin.run`: a lost connection is made again, at
        the rate of `restart_limit`.
        """
        ...

    @streams
    async def aconsume(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        safety_interval: float = 1,
        **kwargs: Any,
    ) -> AsyncIterator[None]:
        """Iterate over deliveries: each step is one event handled by the callbacks.

        Mirrors `kombu.mixins.ConsumerMixin.consume`. Leaving the loop, by `aclose()` of
        the iterator at the latest, cancels the consumers and closes the connection.
        Between two steps no thread is held, and no heartbeat is sent.

        Arguments:
            limit: how many events to wait for; None for no end.
            timeout: seconds without an event after which it raises.
            safety_interval: seconds after which it looks at `should_stop` and the
                heartbeat.
            **kwargs: handed to `on_consume_ready`.

        Raises:
            TimeoutError: (`socket.timeout`) no event for `timeout` seconds.
        """
        ...
        yield

    @enters(unbounded=True)
    def aconsumer_context(self, **kwargs: Any) -> Entering:
        """Open connection and consumers, and the extra context, for `async with`.

        Mirrors `kombu.mixins.ConsumerMixin.consumer_context`; gives connection, channel
        and consumers.

        Arguments:
            **kwargs: handed to `on_consume_ready`.
        """
        ...

    @enters(unbounded=True)
    def aestablish_connection(self) -> Entering:
        """Open a connection for `async with`.

        Mirrors `kombu.mixins.ConsumerMixin.establish_connection`: it tries as often as
        `connect_max_retries` says, for ever by default.
        """
        ...

    @enters(unbounded=True)
    def aConsumer(self) -> Entering:
        """Open a connection and the consumers of `get_consumers`, for `async with`.

        Mirrors `kombu.mixins.ConsumerMixin.Consumer`; gives connection, channel and
        consumers.
        """
        ...

    @leaf(unbounded=True, route="_bridge_message", via="message")
    async def aon_decode_error(self, message: Any, exc: BaseException) -> None:
        """Await the handler of a body that cannot be decoded; it settles the message.

        Mirrors `kombu.mixins.ConsumerMixin.on_decode_error`.
        """
        ...

    @leaf(unbounded=True)
    async def amaybe_conn_error(self, fun: Callable[[], Any]) -> Any:
        """Await `fun()`, whose connection and channel errors are ignored.

        Mirrors `kombu.mixins.ConsumerMixin.maybe_conn_error`.
        """
        ...

    @enters(unbounded=True)
    def aextra_context(self, connection: Any, channel: Any) -> Entering:
        """Enter the context of the hook `extra_context`, for `async with`.

        Mirrors `kombu.mixins.ConsumerMixin.extra_context`.
        """
        ...

    @leaf(unbounded=True, route="_bridge_hook", via="channel")
    async def aget_consumers(self, Consumer: Any, channel: Any) -> Any:
        """Await the consumers that the hook `get_consumers` makes and declares.

        Mirrors `kombu.mixins.ConsumerMixin.get_consumers`.

        Arguments:
            Consumer: makes a consumer on `channel`.
            channel: where to consume.
        """
        ...

    @leaf(unbounded=True)
    async def aon_connection_revived(self) -> None:
        """Await the hook that follows a connection made.

        Mirrors `kombu.mixins.ConsumerMixin.on_connection_revived`.
        """
        ...

    @leaf(unbounded=True, route="_bridge_hook", via="channel")
    async def aon_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, **kwargs: Any
    ) -> None:
        """Await the hook that precedes the first delivery.

        Mirrors `kombu.mixins.ConsumerMixin.on_consume_ready`.
        """
        ...

    @leaf(unbounded=True, route="_bridge_hook", via="channel")
    async def aon_consume_end(self, connection: Any, channel: Any) -> None:
        """Await the hook that follows the cancelling of the consumers.

        Mirrors `kombu.mixins.ConsumerMixin.on_consume_end`.
        """
        ...

    @leaf(unbounded=True)
    async def aon_iteration(self) -> None:
        """Await the hook that precedes every wait for an event.

        Mirrors `kombu.mixins.ConsumerMixin.on_iteration`.
        """
        ...


class ConsumerProducerMixinMixin(ConsumerMixinMixin):
    """Awaitable methods of `kombu.mixins.ConsumerProducerMixin`.

    It publishes on a second connection. Two coroutines that ask for it at the same time
    get the same one.
    """

    def _bridge_producing(self) -> Route:
        return replace(route_of(self.connection), guard=self)

    @reads(route="_bridge_producing")
    async def aproducer_connection(self) -> Any:
        """Await the connection for publishing, made on first use.

        Mirrors `kombu.mixins.ConsumerProducerMixin.producer_connection`.

        Raises:
            OperationalError: (`PublishTimeout`) no connection within 10 seconds.
        """
        ...

    @reads(route="_bridge_producing")
    async def aproducer(self) -> Any:
        """Await a new producer on the connection for publishing.

        Mirrors `kombu.mixins.ConsumerProducerMixin.producer`.

        Raises:
            OperationalError: (`PublishTimeout`) no connection within 10 seconds.
        """
        ...

    @leaf(unbounded=True, route="_bridge_hook", via="channel")
    async def aon_consume_end(self, connection: Any, channel: Any) -> None:
        """Await the hook that closes the connection for publishing.

        Mirrors `kombu.mixins.ConsumerProducerMixin.on_consume_end`.
        """
        ...
