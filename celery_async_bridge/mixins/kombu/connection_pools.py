"""Twins for `kombu.connection`: the pools of connections and channels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform
from .._twin import compound, leaf
from ._route import route_of
from .resource import ResourceMixin, pool_route

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("ChannelPoolMixin", "ConnectionPoolMixin")


class ConnectionPoolMixin(ResourceMixin):
    """Awaitable methods of `kombu.connection.ConnectionPool`."""

    @compound("acquire_channel", "enter")
    @asynccontextmanager
    async def aacquire_channel(
        self, block: bool = False
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Acquire a connection and open its default channel: for `async with`.

        Mirrors `kombu.connection.ConnectionPool.acquire_channel`.

        Arguments:
            block: wait when the pool is empty.

        Raises:
            ConnectionLimitExceeded: the pool is empty.
        """
        async with self.aacquire(block=block) as connection:
            route = route_of(connection)
            channel = await perform(
                route, lambda: connection.default_channel, deadline=route.deadline
            )
            yield connection, channel

    @leaf(via="resource")
    async def aclose_resource(self, resource: Any) -> None:
        """Await the closing of a connection of the pool.

        Mirrors `kombu.connection.ConnectionPool.close_resource`.
        """
        ...

    @leaf(via="resource")
    async def acollect_resource(
        self, resource: Any, socket_timeout: float = 0.1
    ) -> None:
        """Await the disposal of a connection of the pool, without a farewell.

        Mirrors `kombu.connection.ConnectionPool.collect_resource`, which changes the
        default socket timeout of the whole process for as long as it takes.

        Arguments:
            resource: the connection.
            socket_timeout: seconds for sockets that are opened meanwhile.
        """
        ...

    def _bridge_route(self, via: Any = None) -> Route:
        # One that nobody has used yet is a promise, and needs no turn.
        if hasattr(via, "transport_cls"):
            return route_of(via)
        return pool_route(self)


class ChannelPoolMixin(ResourceMixin):
    """Awaitable methods of `kombu.connection.ChannelPool`.

    The channels share a connection, so these calls take turns with all others on it.
    """

    connection: Any

    def _bridge_route(self) -> Route:
        return route_of(self.connection)

    @leaf
    async def aprepare(self, channel: Any) -> Any:
        """Await a channel that is ready for use: opened, if it was not yet.

        Mirrors `kombu.connection.ChannelPool.prepare`.
        """
        ...
