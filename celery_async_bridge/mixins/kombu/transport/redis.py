"""Twins for `kombu.transport.redis`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import enters, leaf
from .._route import bound_route

if TYPE_CHECKING:
    from ....core.route import Route
    from ..._twin import Entering

__all__ = ("ChannelMixin", "PublishBatchMixin")


class ChannelMixin:
    """Awaitable methods of `kombu.transport.redis.Channel`.

    Those of the virtual channel that it does not change come from there. Some exist
    from Kombu 5.7 on; on an older one they raise `AttributeError`.
    """

    def _bridge_route(self) -> Route:
        return bound_route(self)

    @leaf
    async def abasic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Await the start of a consumer.

        Mirrors `kombu.transport.redis.Channel.basic_consume`.

        Arguments:
            queue: what to consume.
            *args: as for a virtual channel: no_ack, callback, consumer_tag.
            **kwargs: likewise.
        """
        ...

    @leaf
    async def abasic_cancel(self, consumer_tag: str) -> Any:
        """Await the end of a consumer.

        Mirrors `kombu.transport.redis.Channel.basic_cancel`. It takes effect before
        the next wait, if a wait is in progress.
        """
        ...

    @leaf
    async def amaybe_reauth(self) -> None:
        """Await a new authentication of the connections whose credentials have changed.

        Mirrors `kombu.transport.redis.Channel.maybe_reauth`.
        """
        ...

    @leaf
    async def asweep_bindings(self, limit: int = 100) -> Any:
        """Await the removal of bindings whose queues have expired.

        Mirrors `kombu.transport.redis.Channel.sweep_bindings`.

        Arguments:
            limit: how many to look at.
        """
        ...

    @leaf
    async def amaybe_refresh_binding_expiry(self) -> Any:
        """Await the prolonging of this channel's bindings, when it is due.

        Mirrors `kombu.transport.redis.Channel.maybe_refresh_binding_expiry`.
        """
        ...

    @leaf
    async def aget_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Await the bindings of an exchange, which the server holds.

        Mirrors `kombu.transport.redis.Channel.get_table`.

        Raises:
            InconsistencyError: no queue is bound to it any more.
        """
        ...

    @enters
    def aconn_or_acquire(self, client: Any = None) -> Entering:
        """Give `client`, or a sync Redis client on the channel's pool: `async with`.

        Mirrors `kombu.transport.redis.Channel.conn_or_acquire`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of the channel, of a pending read, and of auto-delete queues.

        Mirrors `kombu.transport.redis.Channel.close`.
        """
        ...


class PublishBatchMixin:
    """Awaitable methods of `kombu.transport.redis.PublishBatch`.

    Several coroutines may publish into a batch one after the other; a batch is sent in
    one round trip when it is full, flushed or closed by its producer.
    """

    channel: Any

    def _bridge_route(self) -> Route:
        return bound_route(self.channel)

    @leaf
    async def apublish(self, message: dict[str, Any], **kwargs: Any) -> Any:
        """Await the routing of a prepared message into the batch.

        Mirrors `kombu.transport.redis.PublishBatch.publish`; a full batch is sent.

        Raises:
            BatchPublishError: the batch has failed, or fails now: what of it has
                arrived is not known.
            RuntimeError: the batch is closed or given up.
        """
        ...

    @leaf
    async def aflush(self) -> None:
        """Await the sending of what the batch holds; it is tried once.

        Mirrors `kombu.transport.redis.PublishBatch.flush`.

        Raises:
            BatchPublishError: as for `apublish`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the release of the batch's connection, without sending anything.

        Mirrors `kombu.transport.redis.PublishBatch.close`.
        """
        ...
