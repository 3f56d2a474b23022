"""Twins for `celery.app.events`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..._twin import compound
from .._holding import Holding, holds
from .._route import app_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("EventsMixin",)


class EventsMixin:
    """Awaitable methods of `app.events`.

    Each runs natively where the broker has a driver, else in a thread.
    """

    if TYPE_CHECKING:
        app: Any
        Receiver: Any

    def _bridge_route(self) -> Route:
        return app_route(self.app)

    @holds()
    def adefault_dispatcher(
        self,
        hostname: str | None = None,
        enabled: bool = True,
        buffer_while_offline: bool = False,
    ) -> Holding:
        """Await an event dispatcher on a pooled connection, for `async with`.

        Mirrors `celery.app.events.Events.default_dispatcher`.

        Arguments:
            hostname: the node name to send under.
            enabled: send events, do not drop them.
            buffer_while_offline: keep events that cannot be sent.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @compound("default_dispatcher", "leaf")
    async def aemit(
        self, type: str, *, hostname: str | None = None, **fields: Any
    ) -> None:
        """Await the sending of one event, on a pooled connection.

        What `adefault_dispatcher` and `asend` do, in one call.

        Arguments:
            type: the event type, as in `"task-sent"`.
            hostname: the node name to send under.
            fields: what the event says, and the options of `asend`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        dispatching: Any = self.adefault_dispatcher(hostname)
        async with dispatching as dispatcher:
            await dispatcher.asend(type, **fields)

    @compound("Receiver", "stream")
    async def areceiver(
        self,
        routing_key: str = "#",
        *,
        timeout: float | None = None,
        wakeup: bool = True,
        **options: Any,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Iterate over events as they are captured, on a connection of its own.

        What `aitercapture` of a `Receiver` does, but it gives the events. Capturing
        begins with the first step and ends when the iterator is closed: leave it inside
        `async with contextlib.aclosing(...)`.

        Arguments:
            routing_key: the events to capture, such as `"task.#"`.
            timeout: seconds without an event after which `TimeoutError` is raised.
            wakeup: ask the workers for a heartbeat first.
            options: more options of the receiver, such as `node_id`.

        Raises:
            OperationalError: the broker cannot be reached.
        """
        # Handlers are called in a thread, where waiting is not native.
        seen: deque[dict[str, Any]] = deque()
        handlers = {"*": seen.append}
        async with self.app.connection_for_read() as connection:
            # Else the receiver, which wants a channel, would block.
            await connection.adefault_channel()
            receiver = self.Receiver(
                connection, handlers=handlers, routing_key=routing_key, **options
            )
            steps = receiver.aitercapture(timeout=timeout, wakeup=wakeup)
            async with aclosing(steps):
                async for _ in steps:
                    while seen:
                        yield seen.popleft()
