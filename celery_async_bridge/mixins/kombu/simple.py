"""Twins for `kombu.simple`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .._twin import compound, leaf, waits
from ._arrivals import get, put_back
from ._route import bound_route

if TYPE_CHECKING:
    from collections import deque
    from types import TracebackType

    from ...core.route import Route

__all__ = ("SimpleBaseMixin",)


class SimpleBaseMixin:
    """Awaitable methods of `kombu.simple.SimpleQueue` and `SimpleBuffer`.

    Each runs natively where the transport has a driver, else in a thread that has the
    connection to itself. `Connection.asimple_queue` makes one without blocking.

    Many coroutines may wait, also for several queues of one connection. A message that
    arrives for a cancelled call stays in the buffer, from which the next `aget` is
    served.
    """

    channel: Any
    buffer: deque[Any]

    def _bridge_route(self) -> Route:
        return bound_route(self.channel)

    @compound("get", "wait")
    async def aget(self, block: bool = True, timeout: float | None = None) -> Any:
        """Wait for a message.

        Mirrors `kombu.simple.SimpleBase.get`.

        Arguments:
            block: wait for one; else it is `aget_nowait`.
            timeout: seconds to wait, for ever by default.

        Raises:
            Empty: (`queue.Empty`) no message came in time.
            OperationalError: (`PublishTimeout`) consuming could not be started within
                10 seconds.
        """
        if not block:
            return await self.aget_nowait()
        return await get(self, self._bridge_route(), timeout)

    @waits(undo=put_back, bounded=True)
    async def aget_nowait(self) -> Any:
        """Await the answer whether there is a message, and return it.

        Mirrors `kombu.simple.SimpleBase.get_nowait`.

        Raises:
            Empty: (`queue.Empty`) there is none.
        """
        ...

    @leaf
    async def aput(
        self,
        message: Any,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        routing_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Await the hand-over of a message to the broker.

        Mirrors `kombu.simple.SimpleBase.put`.

        Arguments:
            message: what to send.
            serializer: name of a registered serializer.
            headers: of the message.
            compression: name of a registered compression.
            routing_key: instead of the queue's own.
            **kwargs: as for `Producer.apublish`.

        Raises:
            OperationalError: (`PublishTimeout`) not done within 10 seconds.
        """
        ...

    @leaf
    async def aclear(self) -> int:
        """Await the deletion of all waiting messages; return their number.

        Mirrors `kombu.simple.SimpleBase.clear`.
        """
        ...

    @leaf
    async def aqsize(self) -> int:
        """Await the number of waiting messages.

        Mirrors `kombu.simple.SimpleBase.qsize`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of consuming.

        Mirrors `kombu.simple.SimpleBase.close`.
        """
        ...

    @compound("get", "stream")
    async def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over messages as they arrive, for ever: each step is an `aget`."""
        while True:
            yield await self.aget()

    @compound("__enter__")
    async def __aenter__(self) -> Any:
        """Return the queue."""
        return self

    @leaf(of="__exit__")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close."""
        ...
