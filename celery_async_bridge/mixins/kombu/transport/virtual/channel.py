"""Twins for the channel of `kombu.transport.virtual.base`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .....core.dispatch import perform
from ...._twin import compound, leaf, waits
from ..._route import bound_route

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .....core.route import Route

__all__ = ("ChannelMixin",)

Message = dict[str, Any]


class ChannelMixin:
    """Awaitable methods of `kombu.transport.virtual.Channel`.

    Each runs natively where the transport has a driver, else in a thread that has the
    connection to itself; without an answer within 10 seconds it raises a
    `PublishTimeout`, which is an `OperationalError`.
    """

    def _bridge_route(self) -> Route:
        return bound_route(self)

    @leaf
    async def aexchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",
        durable: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        """Await the declaration of an exchange.

        Mirrors `kombu.transport.virtual.base.Channel.exchange_declare`.

        Arguments:
            exchange: its name; None makes one up.
            type: how it routes.
            durable: part of what must not change in a later declaration.
            auto_delete: likewise.
            arguments: likewise.
            nowait: without effect here.
            passive: raise if it does not exist.

        Raises:
            ChannelError: it does not exist.
            NotEquivalentError: it exists with other properties.
        """
        ...

    @leaf
    async def aexchange_delete(
        self, exchange: str, if_unused: bool = False, nowait: bool = False
    ) -> None:
        """Await the deletion of an exchange and of the queues bound to it.

        Mirrors `kombu.transport.virtual.base.Channel.exchange_delete`.
        """
        ...

    @leaf
    async def aqueue_declare(
        self, queue: str | None = None, passive: bool = False, **kwargs: Any
    ) -> Any:
        """Await the declaration of a queue.

        Mirrors `kombu.transport.virtual.base.Channel.queue_declare`; gives its name,
        its messages and its consumers.

        Arguments:
            queue: its name; None makes one up.
            passive: raise if it does not exist.
            **kwargs: properties for the transport.

        Raises:
            ChannelError: it does not exist.
        """
        ...

    @leaf
    async def aqueue_delete(
        self,
        queue: str,
        if_unused: bool = False,
        if_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        """Await the deletion of a queue.

        Mirrors `kombu.transport.virtual.base.Channel.queue_delete`.

        Arguments:
            queue: its name.
            if_unused: without effect here.
            if_empty: leave it if it holds messages.
            **kwargs: for the transport.
        """
        ...

    @leaf
    async def aafter_reply_message_received(self, queue: str) -> None:
        """Await what a transport does with a reply queue that has served.

        Mirrors `kombu.transport.virtual.base.Channel.after_reply_message_received`.
        """
        ...

    @leaf
    async def aqueue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Await the binding of a queue to an exchange.

        Mirrors `kombu.transport.virtual.base.Channel.queue_bind`.
        """
        ...

    @leaf
    async def aqueue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Await the end of a binding.

        Mirrors `kombu.transport.virtual.base.Channel.queue_unbind`.
        """
        ...

    @compound("list_bindings", "leaf")
    async def alist_bindings(self) -> list[tuple[str, str, str]]:
        """Await all bindings as (queue, exchange, routing key).

        Mirrors `kombu.transport.virtual.base.Channel.list_bindings`, whose generator
        asks the server while it is read: this is a list.
        """
        sync: Any = self
        route = self._bridge_route()
        return await perform(
            route, lambda: list(sync.list_bindings()), deadline=route.deadline
        )

    @leaf
    async def aqueue_purge(self, queue: str, **kwargs: Any) -> int:
        """Await the removal of all messages of a queue.

        Mirrors `kombu.transport.virtual.base.Channel.queue_purge`; gives their number.
        """
        ...

    @leaf
    async def abasic_publish(
        self, message: Message, exchange: str, routing_key: str, **kwargs: Any
    ) -> None:
        """Await the sending of a prepared message.

        Mirrors `kombu.transport.virtual.base.Channel.basic_publish`.

        Arguments:
            message: made by `prepare_message`; it is changed, so send it only once.
            exchange: its name, or empty to name the queue by `routing_key`.
            routing_key: what the exchange goes by.
            **kwargs: for the transport.
        """
        ...

    @leaf
    async def abasic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[[Any], Any],
        consumer_tag: str,
        **kwargs: Any,
    ) -> None:
        """Await the start of a consumer.

        Mirrors `kombu.transport.virtual.base.Channel.basic_consume`.

        Arguments:
            queue: what to consume.
            no_ack: messages count as settled when they are delivered.
            callback: an ordinary function, called with each message.
            consumer_tag: names the consumer.
            **kwargs: for the transport.
        """
        ...

    @leaf
    async def abasic_cancel(self, consumer_tag: str) -> None:
        """Await the end of a consumer.

        Mirrors `kombu.transport.virtual.base.Channel.basic_cancel`.
        """
        ...

    @leaf
    async def abasic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Await one message of a queue; None if there is none.

        Mirrors `kombu.transport.virtual.base.Channel.basic_get`.
        """
        ...

    @leaf
    async def abasic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Await the acknowledgement of a message.

        Mirrors `kombu.transport.virtual.base.Channel.basic_ack`.
        """
        ...

    @leaf
    async def abasic_recover(self, requeue: bool = False) -> Any:
        """Await the redelivery of all unsettled messages.

        Mirrors `kombu.transport.virtual.base.Channel.basic_recover`.

        Raises:
            NotImplementedError: without `requeue`.
        """
        ...

    @leaf
    async def abasic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Await the rejection of a message.

        Mirrors `kombu.transport.virtual.base.Channel.basic_reject`.
        """
        ...

    @leaf
    async def abasic_qos(
        self,
        prefetch_size: int = 0,
        prefetch_count: int = 0,
        apply_global: bool = False,
    ) -> None:
        """Await the setting of how many unsettled messages there may be.

        Mirrors `kombu.transport.virtual.base.Channel.basic_qos`.
        """
        ...

    @waits
    async def adrain_events(
        self,
        timeout: float | None = None,
        callback: Callable[[Message, str], Any] | None = None,
    ) -> Any:
        """Await the delivery of one message on this channel.

        Mirrors `kombu.transport.virtual.base.Channel.drain_events`.

        Raises:
            Empty: (`queue.Empty`) there is none, or nothing may be consumed.
        """
        ...

    @leaf
    async def aget_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Await the bindings of an exchange.

        Mirrors `kombu.transport.virtual.base.Channel.get_table`.
        """
        ...

    @leaf
    async def aflow(self, active: bool = True) -> None:
        """Await the pausing of deliveries, where a transport can do it.

        Mirrors `kombu.transport.virtual.base.Channel.flow`.

        Raises:
            NotImplementedError: it cannot.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of all consumers and the return of unsettled messages.

        Mirrors `kombu.transport.virtual.base.Channel.close`.
        """
        ...

    async def __aenter__(self) -> Self:
        """Return the channel."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close the channel."""
        sync: Any = self
        route = self._bridge_route()
        leave = partial(sync.__exit__, exc_type, exc_val, exc_tb)
        await perform(route, leave, deadline=route.deadline)

    @leaf(of="_lookup")
    async def _alookup(
        self, exchange: str, routing_key: str, default: str | None = None
    ) -> Iterable[str]:
        """Await the names of the queues that a message would reach.

        Mirrors `kombu.transport.virtual.base.Channel._lookup`.

        Arguments:
            exchange: its name.
            routing_key: what the exchange goes by.
            default: the queue, made if necessary, where there is no other.
        """
        ...
