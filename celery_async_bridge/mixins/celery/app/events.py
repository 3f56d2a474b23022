"""Twins for `celery.app.events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
