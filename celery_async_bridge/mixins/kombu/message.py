"""Twins for `kombu.message`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform, perform_now
from ...core.route import DEADLINE
from .._twin import compound, leaf
from ._ready import ready_hand
from ._route import connection_of, route_of

if TYPE_CHECKING:
    from logging import Logger

    from ...core.route import Route

__all__ = ("MessageMixin",)


class MessageMixin:
    """Awaitable methods of `kombu.Message`.

    Each runs natively where the connection's transport has a driver, else in a thread
    that has the connection to itself. A message is settled on the channel that
    delivered it.
    """

    channel: Any
    ack: Callable[..., None]

    def _bridge_route(self) -> Route:
        # Many messages are settled at once, and share the way to the server.
        return route_of(connection_of(self.channel), reentrant=True)

    @compound("ack", "leaf")
    async def aack(self, multiple: bool = False) -> None:
        """Await the acknowledgement of this message.

        Mirrors `kombu.message.Message.ack`.

        Arguments:
            multiple: acknowledge all messages up to this one, too.

        Raises:
            MessageStateError: already acknowledged, requeued or rejected.
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        call = partial(self.ack, multiple=multiple) if multiple else self.ack
        hand = ready_hand(self.channel)
        if hand is not None:
            return await perform_now(self._bridge_route, call, hand, DEADLINE)
        route = self._bridge_route()
        return await perform(route, call, deadline=route.deadline)

    @leaf
    async def aack_log_error(
        self,
        logger: Logger,
        errors: tuple[type[BaseException], ...],
        multiple: bool = False,
    ) -> None:
        """Await the acknowledgement; log connection errors instead of raising.

        Mirrors `kombu.message.Message.ack_log_error`.

        Arguments:
            logger: gets the errors, at level critical.
            errors: the exceptions to log; a broken pipe is logged and raised.
            multiple: acknowledge all messages up to this one, too.

        Raises:
            MessageStateError: already acknowledged, requeued or rejected.
        """
        ...

    @leaf
    async def areject(self, requeue: bool = False) -> None:
        """Await the rejection of this message; the broker drops it.

        Mirrors `kombu.message.Message.reject`.

        Arguments:
            requeue: have the broker deliver it again instead.

        Raises:
            MessageStateError: already acknowledged, requeued or rejected.
        """
        ...

    @leaf
    async def areject_log_error(
        self,
        logger: Logger,
        errors: tuple[type[BaseException], ...],
        requeue: bool = False,
    ) -> None:
        """Await the rejection; log connection errors instead of raising.

        Mirrors `kombu.message.Message.reject_log_error`.

        Arguments:
            logger: gets the errors, at level critical.
            errors: the exceptions to log.
            requeue: have the broker deliver it again instead of dropping it.

        Raises:
            MessageStateError: already acknowledged, requeued or rejected.
        """
        ...

    @leaf
    async def arequeue(self) -> None:
        """Await the return of this message to its queue.

        Mirrors `kombu.message.Message.requeue`.

        Raises:
            MessageStateError: already acknowledged, requeued or rejected.
        """
        ...
