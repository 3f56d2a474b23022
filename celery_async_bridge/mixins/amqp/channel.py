"""Twins for `amqp.channel`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform
from ...core.route import DEADLINE
from .._twin import leaf
from ..kombu._route import LOCAL, connection_of, route_of
from .declaring import DeclaringMixin

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ...core.route import Route

__all__ = ("ChannelMixin",)

Arguments = dict[str, Any]


class ChannelMixin(DeclaringMixin):
    """Awaitable methods of `amqp.Channel`, the channel of Kombu's AMQP transport.

    Calls on the channels of one connection take turns, in threads: py-amqp reads the
    replies of all channels off one socket. Without an answer within 10 seconds they
    raise a `PublishTimeout`, which is an `OperationalError`. A `nowait` call and an
    acknowledgement return when they are written. `argsig` is py-amqp's own affair.
    """

    connection: Any

    def _bridge_route(self) -> Route:
        connection = connection_of(self)
        if connection is not None:
            return route_of(connection)
        # A channel without Kombu, or one that is closed and raises at once.
        guard = self.connection or self
        return replace(LOCAL, guard=guard, deadline=DEADLINE)

    @leaf
    async def aclose(
        self,
        reply_code: int = 0,
        reply_text: str = "",
        method_sig: tuple[int, int] = (0, 0),
        argsig: str = "BsBB",
    ) -> None:
        """Await the closing of the channel.

        Mirrors `amqp.channel.Channel.close`.

        Arguments:
            reply_code: why, as a number.
            reply_text: why, in words.
            method_sig: class and method that failed, if one did.
            argsig: leave it.
        """
        ...

    @leaf
    async def aflow(self, active: bool) -> Any:
        """Await the pausing or resuming of deliveries.

        Mirrors `amqp.channel.Channel.flow`.
        """
        ...

    @leaf
    async def aopen(self) -> Any:
        """Await the opening of the channel.

        Mirrors `amqp.channel.Channel.open`.
        """
        ...

    @leaf
    async def abasic_ack(
        self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb"
    ) -> Any:
        """Await the writing of an acknowledgement.

        Mirrors `amqp.channel.Channel.basic_ack`.
        """
        ...

    @leaf
    async def abasic_cancel(
        self, consumer_tag: str, nowait: bool = False, argsig: str = "sb"
    ) -> Any:
        """Await the end of a consumer.

        Mirrors `amqp.channel.Channel.basic_cancel`.
        """
        ...

    @leaf
    async def abasic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_local: bool = False,
        no_ack: bool = False,
        exclusive: bool = False,
        nowait: bool = False,
        callback: Callable[[Any], Any] | None = None,
        arguments: Arguments | None = None,
        on_cancel: Callable[[str], Any] | None = None,
        argsig: str = "BssbbbbF",
    ) -> Any:
        """Await the start of a consumer; somebody must drain the connection.

        Mirrors `amqp.channel.Channel.basic_consume`; gives its tag.

        Raises:
            AccessRefused: somebody else consumes exclusively.
        """
        ...

    @leaf
    async def abasic_get(
        self, queue: str = "", no_ack: bool = False, argsig: str = "Bsb"
    ) -> Any:
        """Await one message of a queue; None if there is none.

        Mirrors `amqp.channel.Channel.basic_get`.
        """
        ...

    @leaf
    async def abasic_publish(
        self,
        msg: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        argsig: str = "Bssbb",
    ) -> Any:
        """Await the writing of a message, and its confirmation where that is set up.

        Mirrors `amqp.channel.Channel.basic_publish`, with `confirm_publish` among the
        transport options `basic_publish_confirm`.

        Arguments:
            msg: an `amqp.Message`.
            exchange: its name, or empty to name the queue by `routing_key`.
            routing_key: what the exchange goes by.
            mandatory: have it returned if no queue takes it.
            immediate: not supported by RabbitMQ.
            timeout: seconds for one write to the socket.
            confirm_timeout: seconds for the confirmation.
            argsig: leave it.

        Raises:
            ConnectionBlocked: the broker takes no messages at present.
            MessageNacked: the broker has refused the message.
        """
        ...

    @leaf
    async def abasic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """Await the broker's confirmation of a message.

        Mirrors `amqp.channel.Channel.basic_publish_confirm`.

        Arguments:
            *args: as for `abasic_publish`.
            **kwargs: likewise.

        Raises:
            MessageNacked: the broker has refused the message.
        """
        ...

    @leaf
    async def abasic_qos(
        self,
        prefetch_size: int,
        prefetch_count: int,
        a_global: bool,
        argsig: str = "lBb",
    ) -> Any:
        """Await the setting of how many unsettled messages there may be.

        Mirrors `amqp.channel.Channel.basic_qos`.
        """
        ...

    @leaf
    async def abasic_recover(self, requeue: bool = False) -> Any:
        """Await the redelivery of all unsettled messages.

        Mirrors `amqp.channel.Channel.basic_recover`.
        """
        ...

    @leaf
    async def abasic_recover_async(self, requeue: bool = False) -> Any:
        """Await the writing of a request for redelivery, which has no reply.

        Mirrors `amqp.channel.Channel.basic_recover_async`, which is a sync method.
        """
        ...

    @leaf
    async def abasic_reject(
        self, delivery_tag: int, requeue: bool, argsig: str = "Lb"
    ) -> Any:
        """Await the writing of a rejection.

        Mirrors `amqp.channel.Channel.basic_reject`.
        """
        ...

    @leaf
    async def atx_commit(self) -> Any:
        """Await the end of the transaction.

        Mirrors `amqp.channel.Channel.tx_commit`.
        """
        ...

    @leaf
    async def atx_rollback(self) -> Any:
        """Await the undoing of the transaction.

        Mirrors `amqp.channel.Channel.tx_rollback`.
        """
        ...

    @leaf
    async def atx_select(self) -> Any:
        """Await the beginning of transactions on this channel.

        Mirrors `amqp.channel.Channel.tx_select`.
        """
        ...

    @leaf
    async def aconfirm_select(self, nowait: bool = False) -> Any:
        """Await the beginning of confirmations on this channel.

        Mirrors `amqp.channel.Channel.confirm_select`.
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
