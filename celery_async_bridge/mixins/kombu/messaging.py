"""Twins for `kombu.messaging`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from copy import copy
from typing import TYPE_CHECKING, Any

from ...core.dispatch import talk
from ...core.relay import Relay
from .._twin import compound, leaf, reads
from ._batch import AsyncBatch, ProducerBatchMixin
from ._iterating import finish_all, messages_of
from ._ready import sending_hand
from ._receiving import leave
from ._route import bound_route, connection_of, route_of

if TYPE_CHECKING:
    from types import TracebackType

    from ...core.route import Route

__all__ = ("ConsumerMixin", "ProducerBatchMixin", "ProducerMixin", "producer_route")


def producer_route(producer: Any) -> Route:
    """Route of a producer: its connection, else that of its channel."""
    connection = producer.__connection__
    if connection is not None:
        return route_of(connection)
    return bound_route(producer._channel)


class ProducerMixin:
    """Awaitable methods of `kombu.Producer`.

    Each runs natively where the transport has a driver, else in a thread that has the
    connection to itself.
    """

    batch: Callable[..., Any]

    def _bridge_route(self, via: Any = None) -> Route:
        return producer_route(self) if via is None else bound_route(via)

    @leaf
    async def adeclare(self) -> None:
        """Await the declaration of the default exchange, if it has a name.

        Mirrors `kombu.messaging.Producer.declare`.
        """
        ...

    @leaf
    async def amaybe_declare(
        self, entity: Any, retry: bool = False, **retry_policy: Any
    ) -> bool | None:
        """Await the declaration of an entity that this connection has not declared yet.

        Mirrors `kombu.messaging.Producer.maybe_declare`.

        Arguments:
            entity: an exchange or a queue; nothing happens if it is false.
            retry: declare again when the connection breaks.
            **retry_policy: as for `Connection.aensure`.
        """
        ...

    @leaf(timeout="publish_timeout", hand=sending_hand)
    async def apublish(
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: int | str | None = None,
        mandatory: bool = False,
        immediate: bool = False,
        priority: int = 0,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        retry: bool = False,
        retry_policy: dict[str, Any] | None = None,
        declare: list[Any] | None = None,
        expiration: float | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        *,
        publish_timeout: float | None = None,
        **properties: Any,
    ) -> Any:
        """Await the hand-over of a message to the broker.

        Mirrors `kombu.messaging.Producer.publish`.

        Arguments:
            body: the message; it is serialized unless `content_type` is given.
            routing_key: the producer's own by default.
            delivery_mode: 1 or "transient", 2 or "persistent".
            mandatory: have the broker return a message that fits no queue.
            immediate: as `mandatory`, where no consumer is ready (AMQP 0-8).
            priority: 0 to 9.
            content_type: of a body that is serialized already.
            content_encoding: of a body that is serialized already.
            serializer: name of a registered serializer.
            headers: of the message.
            compression: name of a registered compression.
            exchange: the producer's own by default.
            retry: try again when the connection breaks.
            retry_policy: as for `Connection.aensure`.
            declare: entities to declare before; the list itself may be added to.
            expiration: seconds that the message lives.
            timeout: seconds for the socket, per attempt (AMQP).
            confirm_timeout: seconds for the broker's confirmation, per attempt (AMQP).
            publish_timeout: seconds for all of it, 10 by default.
            **properties: further message properties.

        Raises:
            OperationalError: the broker cannot be reached. `PublishTimeout`, one of
                its subclasses: not done within `publish_timeout`.
            EncodeError: the body cannot be serialized; nothing was sent.
        """
        ...

    @compound("batch", "enter")
    def abatch(self, max_size: int = 1000) -> AsyncBatch:
        """Collect what is published inside of `async with` and send it in few writes.

        Mirrors `kombu.messaging.Producer.batch` (Kombu 5.7): every `apublish` of this
        producer by the same coroutine, or by tasks that it starts inside, belongs to
        the batch. It is sent when it is full, by `await batch.aflush()` and at the
        end; what an exception leaves unsent is dropped. Transports without batches
        publish at once.

        Arguments:
            max_size: messages that are held at most.

        Raises:
            ValueError: `max_size` is not a positive integer.
        """
        return AsyncBatch(self.batch(max_size))

    @leaf(via="channel")
    async def arevive(self, channel: Any) -> None:
        """Await the move of the producer to another channel or connection.

        Mirrors `kombu.messaging.Producer.revive`.
        """
        ...

    @reads
    async def achannel(self) -> Any:
        """Await the producer's channel; connect and open one, if need be.

        Mirrors reading `kombu.messaging.Producer.channel`.
        """
        ...

    @leaf
    async def arelease(self) -> None:
        """Await the return of a pooled producer; without a pool nothing happens.

        Mirrors `kombu.messaging.Producer.release`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of the producer, which leaves its connection open.

        Mirrors `kombu.messaging.Producer.close`.
        """
        ...

    @leaf(of="__enter__")
    async def __aenter__(self) -> Any:
        """Return the producer."""
        ...

    @leaf(of="__exit__")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Release; after an exception a pooled connection is replaced."""
        ...


class ConsumerMixin:
    """Awaitable methods of `kombu.Consumer`.

    Each runs natively where the transport has a driver, else in a thread that has the
    connection to itself. `Connection.aconsumer` makes a consumer without blocking.
    """

    channel: Any
    callbacks: Any

    def _bridge_route(self, via: Any = None) -> Route:
        return bound_route(self.channel if via is None else via)

    @leaf(via="channel")
    async def arevive(self, channel: Any) -> None:
        """Await the move to another channel, on which consuming goes on.

        Mirrors `kombu.messaging.Consumer.revive`.
        """
        ...

    @leaf
    async def adeclare(self) -> None:
        """Await the declaration of all queues, with exchanges and bindings.

        Mirrors `kombu.messaging.Consumer.declare`.
        """
        ...

    @leaf
    async def aadd_queue(self, queue: Any) -> Any:
        """Await the declaration of one more queue; `aconsume` starts on it.

        Mirrors `kombu.messaging.Consumer.add_queue`.

        Returns:
            The queue, bound to the consumer's channel.
        """
        ...

    @leaf
    async def aconsume(self, no_ack: bool | None = None) -> None:
        """Await the start of consuming from queues that are not consumed from yet.

        Mirrors `kombu.messaging.Consumer.consume`. Messages arrive in callbacks while
        somebody awaits `Connection.adrain_events`. Callbacks, `on_message` and
        `on_decode_error` may be coroutine functions; how many callbacks are at work at
        once is what the prefetch limit says, and one at a time without a limit.

        Arguments:
            no_ack: messages count as acknowledged when they are delivered.
        """
        ...

    @leaf
    async def acancel(self) -> None:
        """Await the end of consuming; delivered messages stay to be settled.

        Mirrors `kombu.messaging.Consumer.cancel`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of consuming.

        Mirrors `kombu.messaging.Consumer.close`, another name of `cancel`.
        """
        ...

    @leaf
    async def acancel_by_queue(self, queue: Any) -> None:
        """Await the end of consuming from one queue.

        Mirrors `kombu.messaging.Consumer.cancel_by_queue`.

        Arguments:
            queue: the queue or its name.
        """
        ...

    @leaf
    async def apurge(self) -> int:
        """Await the deletion of all waiting messages; return their number.

        Mirrors `kombu.messaging.Consumer.purge`.
        """
        ...

    @leaf
    async def aflow(self, active: bool) -> None:
        """Await the broker's pausing or resuming of the delivery.

        Mirrors `kombu.messaging.Consumer.flow`.

        Raises:
            NotImplementedError: the transport has no flow control.
        """
        ...

    @leaf
    async def aqos(
        self,
        prefetch_size: int = 0,
        prefetch_count: int = 0,
        apply_global: bool = False,
    ) -> None:
        """Await the setting of the prefetch limit.

        Mirrors `kombu.messaging.Consumer.qos`.

        Arguments:
            prefetch_size: octets of unacknowledged messages, 0 for no limit.
            prefetch_count: their number, 0 for no limit.
            apply_global: for all channels of the connection.
        """
        ...

    @leaf
    async def arecover(self, requeue: bool = False) -> None:
        """Await the redelivery of all unacknowledged messages of the channel.

        Mirrors `kombu.messaging.Consumer.recover`.

        Arguments:
            requeue: to any consumer, not only to this one.
        """
        ...

    @compound("receive")
    async def areceive(self, body: Any, message: Any) -> None:
        """Await the callbacks, one after the other, on a message.

        Mirrors `kombu.messaging.Consumer.receive`; a callback may be a coroutine
        function, which is awaited on this loop. The first exception ends it.

        Raises:
            NotImplementedError: there are no callbacks.
        """
        relay = Relay()
        # A copy, because upstream calls what is in `callbacks` and drops what it
        # returns.
        view: Any = copy(self)
        view.callbacks = [relay.sync(callback) for callback in self.callbacks]
        await talk(self._bridge_route(), lambda: view.receive(body, message))

    @leaf(of="__enter__")
    async def __aenter__(self) -> Any:
        """Start consuming."""
        ...

    @compound("__exit__", "leaf")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop consuming; errors of that are ignored.

        Async callbacks that are at work are waited for, however long they take, and
        what one has raised is raised here; after an exception they are cancelled.
        """
        await finish_all(connection_of(self.channel), self)
        await leave(self, (exc_type, exc_val, exc_tb))

    @compound("consume", "stream")
    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over messages as they arrive; consuming starts with the first step.

        They are to be settled (`await message.aack()`), unless `no_ack` is set, and a
        consumer without a prefetch limit gets one of 1 for as long as it lasts. What
        has come and was not given out goes back when the loop is left: at once with
        `contextlib.aclosing(aiter(consumer))` and at the end of the consumer's `async
        with`, else as soon as the interpreter finds out. As for `drain_consumer`, the
        consumer's callbacks are not called meanwhile.

        Raises:
            ValueError: the consumer has an `on_message`, or no queue.
            BaseException: a body cannot be decoded.
        """
        return messages_of(self)
