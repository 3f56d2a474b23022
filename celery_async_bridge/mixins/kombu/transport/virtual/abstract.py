"""Twins for what a virtual transport implements, in `kombu.transport.virtual.base`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...._twin import leaf, waits
from ..._route import bound_route

if TYPE_CHECKING:
    from .....core.route import Route

__all__ = ("AbstractChannelMixin",)

Message = dict[str, Any]


class AbstractChannelMixin:
    """Awaitable forms of what a transport's author implements: one queue at a time."""

    def _bridge_route(self) -> Route:
        return bound_route(self)

    @leaf(of="_get")
    async def _aget(self, queue: str, timeout: float | None = None) -> Message:
        """Await the next message of a queue.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._get`.

        Raises:
            Empty: (`queue.Empty`) there is none.
        """
        ...

    @leaf(of="_put")
    async def _aput(self, queue: str, message: Message, **kwargs: Any) -> None:
        """Await the putting of a message into a queue.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._put`.
        """
        ...

    @leaf(of="_purge")
    async def _apurge(self, queue: str) -> int:
        """Await the removal of all messages of a queue.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._purge`; gives their
        number.
        """
        ...

    @leaf(of="_size")
    async def _asize(self, queue: str) -> int:
        """Await the number of messages in a queue.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._size`.
        """
        ...

    @leaf(of="_delete")
    async def _adelete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        """Await the deletion of a queue.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._delete`.
        """
        ...

    @leaf(of="_has_queue")
    async def _ahas_queue(self, queue: str, **kwargs: Any) -> bool:
        """Await whether a queue exists.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._has_queue`.
        """
        ...

    @waits(of="_poll")
    async def _apoll(
        self,
        cycle: Any,
        callback: Callable[[Message, str], Any],
        timeout: float | None = None,
    ) -> Any:
        """Await the delivery of a message of one of several queues.

        Mirrors `kombu.transport.virtual.base.AbstractChannel._poll`.

        Raises:
            Empty: (`queue.Empty`) there is none.
        """
        ...
