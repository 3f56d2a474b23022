"""Twins for `celery.events.receiver`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._twin import compound, leaf, streams, waits
from ...kombu._route import bound_route, connection_of
from .._asking import tell

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("EventReceiverMixin",)


class EventReceiverMixin:
    """Awaitable methods of `celery.events.EventReceiver`.

    Each runs natively where the broker has a driver, else in a thread. Capturing
    happens on a clone of the receiver's connection and can be cancelled; handlers are
    called where it happens, so in the thread tier in a thread.
    """

    if TYPE_CHECKING:
        app: Any
        channel: Any

    def _bridge_route(self) -> Route:
        # Upstream captures on a clone, so nobody else uses the one that it drains.
        return replace(bound_route(self.channel), guard=None)

    def _bridge_channel_route(self, channel: Any = None) -> Route:
        return bound_route(self.channel if channel is None else channel)

    @streams
    def aitercapture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,
    ) -> AsyncIterator[None]:
        """Iterate over captured events: one step after each, when it was handled.

        Mirrors `celery.events.receiver.EventReceiver.itercapture`.

        Arguments:
            limit: end after so many events; on Redis the subscription counts as one.
            timeout: seconds without an event after which `TimeoutError` is raised.
            wakeup: ask the workers for a heartbeat first.
        """
        ...

    @waits
    async def acapture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,
    ) -> None:
        """Await events and hand them to the handlers.

        Mirrors `celery.events.receiver.EventReceiver.capture`. It ends at `limit`, when
        `should_stop` is set, or when it is cancelled.

        Arguments:
            limit: end after so many events; on Redis the subscription counts as one.
            timeout: seconds without an event after which `TimeoutError` is raised.
            wakeup: ask the workers for a heartbeat first.
        """
        ...

    @compound("wakeup_workers", "leaf")
    async def awakeup_workers(self, channel: Any = None) -> None:
        """Await the sending of a request for heartbeats to all workers.

        Mirrors `celery.events.receiver.EventReceiver.wakeup_workers`.

        Arguments:
            channel: the channel to send on; default: the connection's own.
        """
        wake: Any = self.wakeup_workers  # type: ignore[attr-defined]
        connection = connection_of(self.channel if channel is None else channel)
        await tell(self.app, partial(wake, channel=channel), connection)

    @compound("on_consume_ready", "leaf")
    async def aon_consume_ready(
        self,
        connection: Any,
        channel: Any,
        consumers: list[Any],
        wakeup: bool = True,
        **kwargs: Any,
    ) -> None:
        """Await what happens once the consumers are ready: the request for heartbeats.

        Mirrors `celery.events.receiver.EventReceiver.on_consume_ready`.

        Arguments:
            connection: the connection that the consumers use.
            channel: the channel that they use.
            consumers: the consumers.
            wakeup: send the request.
            kwargs: what else the capturing was started with.
        """
        ready: Any = self.on_consume_ready  # type: ignore[attr-defined]
        call = partial(ready, connection, channel, consumers, wakeup=wakeup, **kwargs)
        await tell(self.app, call, connection_of(channel) or connection)

    @leaf(route="_bridge_channel_route", via="channel")
    async def aget_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        """Await the consumers that capture events, made and declared.

        Mirrors `celery.events.receiver.EventReceiver.get_consumers`.

        Arguments:
            Consumer: makes a consumer.
            channel: the channel for it.
        """
        ...

    @leaf(unbounded=True)
    async def aprocess(self, type: str, event: dict[str, Any]) -> None:
        """Await the handler of an event type.

        Mirrors `celery.events.receiver.EventReceiver.process`.

        Arguments:
            type: the event type.
            event: the event.
        """
        ...
