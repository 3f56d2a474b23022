"""Twins for `kombu.entity`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform
from .._twin import compound, leaf
from ._iterating import messages_from
from ._route import bound_route

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("ExchangeMixin", "QueueMixin", "bindingMixin")


class ExchangeMixin:
    """Awaitable methods of `kombu.Exchange`.

    They use the channel that the exchange is bound to, or the one that is given, and
    raise `NotBoundError` if there is neither. Each runs natively where the transport
    has a driver, else in a thread that has the connection to itself.
    """

    _channel: Any

    def _bridge_route(self, via: Any = None) -> Route:
        return bound_route(self._channel if via is None else via)

    @leaf(via="channel")
    async def abind(self, channel: Any) -> Any:
        """Await a copy of the exchange that is bound to a channel.

        Mirrors `kombu.entity.Exchange.bind`; only a connection has to be asked for its
        default channel.

        Raises:
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...

    @leaf(via="channel")
    async def adeclare(
        self, nowait: bool = False, passive: bool | None = None, channel: Any = None
    ) -> Any:
        """Await the declaration of the exchange.

        Mirrors `kombu.entity.Exchange.declare`.

        Arguments:
            nowait: do not wait for the broker's answer.
            passive: only check that it exists.
            channel: instead of the one that the exchange is bound to.
        """
        ...

    @leaf(via="channel")
    async def abind_to(
        self,
        exchange: Any = "",
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Await the binding of this exchange to another one, its source.

        Mirrors `kombu.entity.Exchange.bind_to`.

        Raises:
            NotImplementedError: the transport cannot bind exchanges.
        """
        ...

    @leaf(via="channel")
    async def aunbind_from(
        self,
        source: Any = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        channel: Any = None,
    ) -> Any:
        """Await the removal of a binding to another exchange.

        Mirrors `kombu.entity.Exchange.unbind_from`.

        Raises:
            NotImplementedError: the transport cannot bind exchanges.
        """
        ...

    @leaf
    async def apublish(
        self,
        message: Any,
        routing_key: str | None = None,
        mandatory: bool = False,
        immediate: bool = False,
        exchange: str | None = None,
    ) -> Any:
        """Await the hand-over of a prepared message, without retry or declaration.

        Mirrors `kombu.entity.Exchange.publish`.

        Arguments:
            message: what `Exchange.Message` returned, or text.
            routing_key: of the message.
            mandatory: have the broker return a message that fits no queue.
            immediate: as `mandatory`, where no consumer is ready (AMQP 0-8).
            exchange: the name of another exchange.

        Raises:
            OperationalError: (`PublishTimeout`) not done within 10 seconds.
        """
        ...

    @leaf
    async def adelete(self, if_unused: bool = False, nowait: bool = False) -> Any:
        """Await the deletion of the exchange.

        Mirrors `kombu.entity.Exchange.delete`.

        Arguments:
            if_unused: only if nothing is bound to it.
            nowait: do not wait for the broker's answer.
        """
        ...


# Upstream's class has no capital either, and a mixin is named after its class.
class bindingMixin:
    """Awaitable methods of `kombu.binding`."""

    def _bridge_route(self, via: Any = None) -> Route:
        # An entity leads to the channel that it is bound to.
        return bound_route(getattr(via, "_channel", via))

    @leaf(via="channel")
    async def adeclare(self, channel: Any, nowait: bool = False) -> None:
        """Await the declaration of the binding's exchange.

        Mirrors `kombu.entity.binding.declare`.
        """
        ...

    @leaf(via="channel entity")
    async def abind(
        self, entity: Any, nowait: bool = False, channel: Any = None
    ) -> None:
        """Await the binding of a queue or exchange as this binding says.

        Mirrors `kombu.entity.binding.bind`.
        """
        ...

    @leaf(via="channel entity")
    async def aunbind(
        self, entity: Any, nowait: bool = False, channel: Any = None
    ) -> None:
        """Await the removal of this binding from a queue or exchange.

        Mirrors `kombu.entity.binding.unbind`.
        """
        ...


class QueueMixin:
    """Awaitable methods of `kombu.Queue`.

    They use the channel that the queue is bound to, or the one that is given, and
    raise `NotBoundError` if there is neither. Each runs natively where the transport
    has a driver, else in a thread that has the connection to itself.
    """

    _channel: Any
    no_ack: bool
    get: Callable[..., Any]

    def _bridge_route(self, via: Any = None) -> Route:
        return bound_route(self._channel if via is None else via)

    @leaf(via="channel")
    async def abind(self, channel: Any) -> Any:
        """Await a copy of the queue that is bound to a channel.

        Mirrors `kombu.entity.Queue.bind`; only a connection has to be asked for its
        default channel.
        """
        ...

    @leaf(via="channel")
    async def adeclare(self, nowait: bool = False, channel: Any = None) -> str:
        """Await the declaration of the queue, its exchange and bindings.

        Mirrors `kombu.entity.Queue.declare`.

        Returns:
            The name of the queue, which the broker may have made up.
        """
        ...

    @leaf(via="channel")
    async def aqueue_declare(
        self, nowait: bool = False, passive: bool = False, channel: Any = None
    ) -> Any:
        """Await the declaration of the queue alone.

        Mirrors `kombu.entity.Queue.queue_declare`.

        Arguments:
            nowait: do not wait for the broker's answer.
            passive: only check that it exists.
            channel: instead of the one that the queue is bound to.

        Returns:
            Its name, and how many messages and consumers there are.
        """
        ...

    @leaf(via="channel")
    async def aqueue_bind(self, nowait: bool = False, channel: Any = None) -> Any:
        """Await the binding of the queue to its exchange.

        Mirrors `kombu.entity.Queue.queue_bind`.
        """
        ...

    @leaf(via="channel")
    async def abind_to(
        self,
        exchange: Any = "",
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
    ) -> Any:
        """Await the binding of the queue to an exchange.

        Mirrors `kombu.entity.Queue.bind_to`.
        """
        ...

    @leaf(via="channel")
    async def aunbind_from(
        self,
        exchange: Any = "",
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
    ) -> Any:
        """Await the removal of a binding to an exchange.

        Mirrors `kombu.entity.Queue.unbind_from`.
        """
        ...

    @leaf(via="channel")
    async def aqueue_unbind(
        self,
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
    ) -> Any:
        """Await the removal of the binding to the queue's own exchange.

        Mirrors `kombu.entity.Queue.queue_unbind`.
        """
        ...

    @compound("get", "leaf")
    async def aget(self, no_ack: bool | None = None, accept: Any = None) -> Any:
        """Await one waiting message, or None if there is none.

        Mirrors `kombu.entity.Queue.get`. A message that comes after a cancellation
        goes back to the queue; with `no_ack` the broker has forgotten it by then, so
        that it is lost: `SimpleQueue.aget` keeps it.

        Arguments:
            no_ack: the message counts as acknowledged when it is delivered.
            accept: content types that may be decoded.
        """
        route = self._bridge_route()
        settled = self.no_ack if no_ack is None else no_ack
        return await perform(
            route,
            lambda: self.get(no_ack, accept),
            deadline=route.deadline,
            undo=None if settled else lambda message: message and message.requeue(),
        )

    @leaf
    async def apurge(self, nowait: bool = False) -> int:
        """Await the deletion of all waiting messages; return their number.

        Mirrors `kombu.entity.Queue.purge`.
        """
        ...

    @leaf
    async def aconsume(
        self,
        consumer_tag: str = "",
        callback: Callable[[Any], Any] | None = None,
        no_ack: bool | None = None,
        nowait: bool = False,
        on_cancel: Callable[[str], Any] | None = None,
    ) -> Any:
        """Await the start of a consumer.

        Mirrors `kombu.entity.Queue.consume`.

        Arguments:
            consumer_tag: its name; the broker makes one up by default.
            callback: gets each message while events are drained.
            no_ack: messages count as acknowledged when they are delivered.
            nowait: do not wait for the broker's answer.
            on_cancel: called when the broker cancels the consumer.
        """
        ...

    @compound("consume", "stream")
    def __aiter__(self) -> AsyncIterator[Any]:
        """Consume and iterate over messages, one at a time, on a channel of its own.

        They are to be settled (`await message.aack()`) before the next one comes,
        unless the queue is `no_ack`; also after the loop. What has come and was not
        given out goes back when the loop is left: at once with
        `contextlib.aclosing(aiter(queue))`, else as soon as the interpreter finds out.
        A consumer iterates with other limits.

        Raises:
            NotBoundError: the queue is not bound to a channel or connection.
            BaseException: a body cannot be decoded.
        """
        return messages_from(self)

    @leaf
    async def acancel(self, consumer_tag: str) -> Any:
        """Await the end of a consumer.

        Mirrors `kombu.entity.Queue.cancel`.
        """
        ...

    @leaf
    async def adelete(
        self, if_unused: bool = False, if_empty: bool = False, nowait: bool = False
    ) -> Any:
        """Await the deletion of the queue.

        Mirrors `kombu.entity.Queue.delete`.

        Arguments:
            if_unused: only if it has no consumers.
            if_empty: only if it has no messages.
            nowait: do not wait for the broker's answer.
        """
        ...
