"""Twins for `kombu.transport.pyamqp`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import compound, leaf
from .._route import route_of
from ._drain import drain

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("TransportMixin",)


class TransportMixin:
    """Awaitable methods of `kombu.transport.pyamqp.Transport`.

    What a transport calls a connection is py-amqp's. It is not thread-safe: calls on
    one Kombu connection take turns.
    """

    client: Any

    def _bridge_route(self) -> Route:
        return route_of(self.client)

    @leaf(undo=lambda _, channel: channel.close())
    async def acreate_channel(self, connection: Any) -> Any:
        """Await a new channel.

        Mirrors `kombu.transport.pyamqp.Transport.create_channel`.
        """
        ...

    @leaf(undo=lambda self, connection: self.close_connection(connection))
    async def aestablish_connection(self) -> Any:
        """Await a new connection, its name resolution and handshakes included.

        Mirrors `kombu.transport.pyamqp.Transport.establish_connection`.

        Raises:
            OSError: the broker cannot be reached.
            AccessRefused: the credentials are wrong.
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        ...

    @compound("drain_events", "wait")
    async def adrain_events(self, connection: Any, **kwargs: Any) -> Any:
        """Await one frame of the broker, and its handling.

        Mirrors `kombu.transport.pyamqp.Transport.drain_events`.

        Arguments:
            connection: what `establish_connection` returned.
            **kwargs: `timeout`, in seconds; None waits for ever.

        Raises:
            TimeoutError: (`socket.timeout`) nothing came.
        """
        sync: Any = self
        timeout = kwargs.pop("timeout", None)

        def wait(seconds: float | None) -> Any:
            return sync.drain_events(connection, timeout=seconds, **kwargs)

        return await drain(self._bridge_route(), wait, timeout)

    @leaf
    async def aclose_connection(self, connection: Any) -> None:
        """Await the closing of a connection.

        Mirrors `kombu.transport.pyamqp.Transport.close_connection`.
        """
        ...

    @leaf
    async def aheartbeat_check(self, connection: Any, rate: int = 2) -> None:
        """Await a look at the heartbeat, and the sending of one when it is due.

        Mirrors `kombu.transport.pyamqp.Transport.heartbeat_check`.

        Arguments:
            connection: what `establish_connection` returned.
            rate: how many times per heartbeat interval this is called.

        Raises:
            ConnectionForced: the broker has missed its heartbeats.
        """
        ...

    @leaf
    async def aget_manager(self, *args: Any, **kwargs: Any) -> Any:
        """Await a client of RabbitMQ's management plug-in.

        Mirrors `kombu.transport.pyamqp.Transport.get_manager`.

        Raises:
            ImportError: pyrabbit is not installed.
        """
        ...
