"""Twins for the transport and the QoS of `kombu.transport.virtual.base`."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Any

from ...._twin import compound, leaf
from ..._route import bound_route, route_of
from .._drain import drain
from .abstract import AbstractChannelMixin
from .channel import ChannelMixin

if TYPE_CHECKING:
    from .....core.route import Route

__all__ = ("AbstractChannelMixin", "ChannelMixin", "QoSMixin", "TransportMixin")


class QoSMixin:
    """Awaitable methods of `kombu.transport.virtual.QoS`.

    Each runs natively where the channel's transport has a driver, else in a thread that
    has the connection to itself.
    """

    channel: Any

    def _bridge_route(self) -> Route:
        return bound_route(self.channel)

    @leaf
    async def aappend(self, message: Any, delivery_tag: str) -> None:
        """Await the noting of a message as delivered and not yet settled.

        Mirrors `kombu.transport.virtual.base.QoS.append`.
        """
        ...

    @leaf
    async def aack(self, delivery_tag: str) -> None:
        """Await the acknowledgement of a message.

        Mirrors `kombu.transport.virtual.base.QoS.ack`.
        """
        ...

    @leaf
    async def areject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Await the rejection of a message.

        Mirrors `kombu.transport.virtual.base.QoS.reject`.

        Arguments:
            delivery_tag: names the message.
            requeue: put it back into its queue.
        """
        ...

    @leaf
    async def arestore_unacked(self) -> list[tuple[BaseException, Any]]:
        """Await the return of all unsettled messages to their queues.

        Mirrors `kombu.transport.virtual.base.QoS.restore_unacked`; gives the messages
        that could not be returned, with the reasons.
        """
        ...

    @leaf
    async def arestore_unacked_once(self, stderr: IO[str] | None = None) -> None:
        """Await the return of all unsettled messages, the first time it is called.

        Mirrors `kombu.transport.virtual.base.QoS.restore_unacked_once`.

        Arguments:
            stderr: report there and not in the log.
        """
        ...

    @leaf
    async def arestore_visible(self, *args: Any, **kwargs: Any) -> Any:
        """Await the return of messages whose visibility timeout is over.

        Mirrors `kombu.transport.virtual.base.QoS.restore_visible`; only the Redis
        transport does anything.
        """
        ...


class TransportMixin:
    """Awaitable methods of `kombu.transport.virtual.Transport`.

    What a transport calls a connection is the transport itself, or what
    `establish_connection` returned.
    """

    client: Any

    def _bridge_route(self) -> Route:
        return route_of(self.client)

    @leaf(undo=lambda self, channel: self.close_channel(channel))
    async def acreate_channel(self, connection: Any) -> Any:
        """Await a new channel.

        Mirrors `kombu.transport.virtual.base.Transport.create_channel`.
        """
        ...

    @leaf
    async def aclose_channel(self, channel: Any) -> None:
        """Await the forgetting of a channel.

        Mirrors `kombu.transport.virtual.base.Transport.close_channel`.
        """
        ...

    @leaf(undo=lambda self, connection: self.close_connection(connection))
    async def aestablish_connection(self) -> Any:
        """Await the connection.

        Mirrors `kombu.transport.virtual.base.Transport.establish_connection`.

        Raises:
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...

    @leaf
    async def aclose_connection(self, connection: Any) -> None:
        """Await the closing of all channels.

        Mirrors `kombu.transport.virtual.base.Transport.close_connection`.
        """
        ...

    @compound("drain_events", "wait")
    async def adrain_events(
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Await the delivery of one event.

        Mirrors `kombu.transport.virtual.base.Transport.drain_events`.

        Arguments:
            connection: what `establish_connection` returned.
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: (`socket.timeout`) nothing came.
        """
        sync: Any = self
        wait = partial(sync.drain_events, connection)
        await drain(self._bridge_route(), wait, timeout)
