"""Many sends of one task in one call, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
)
from typing import Any

__all__ = ("Bulk",)

#: Sends that are under way at once: enough to keep the connection busy.
WINDOW = 512


class Bulk:
    """The results of many sends: awaited a list, iterated one after the other.

    Each is the result handle, or the exception that the send of this item raised; they
    come in the order of the items. Items are taken as there is room for them, so an
    endless source is fine. Leaving the loop early, or a cancellation, ends what is
    under way.

    Arguments:
        items: the arguments of each send: a tuple or list, or a mapping of keywords.
        send: sends one.
        window: sends that may be under way at once.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        send: Callable[[Any, Any], Coroutine[Any, Any, Any]],
        window: int | None = None,
    ) -> None:
        self._items = items
        self._send = send
        self._window = WINDOW if window is None else window
        if self._window < 1:
            raise ValueError("the window must have room for one send")

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the results while the sends go on."""
        return self._results()

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for all sends and return their results."""
        return self._collect().__await__()

    async def _collect(self) -> list[Any]:
        return [result async for result in self._results()]

    async def _results(self) -> AsyncGenerator[Any, None]:
        under_way: deque[asyncio.Task[Any]] = deque()
        create = asyncio.get_running_loop().create_task
        try:
            async for item in _each(self._items):
                under_way.append(create(self._one(item)))
                while under_way and (
                    len(under_way) >= self._window or under_way[0].done()
                ):
                    yield await _outcome(under_way)
            while under_way:
                yield await _outcome(under_way)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, item: Any) -> Any:
        try:
            if isinstance(item, Mapping):
                return await self._send((), dict(item))
            if not isinstance(item, (tuple, list)):
                raise TypeError(
                    "each item must be a tuple of arguments or a mapping of keywords, "
                    f"not {type(item).__name__}"
                )
            return await self._send(tuple(item), {})
        except Exception as exc:
            return exc


async def _outcome(under_way: deque[asyncio.Task[Any]]) -> Any:
    result = await under_way[0]
    under_way.popleft()
    return result


async def _each(
    items: Iterable[Any] | AsyncIterable[Any],
) -> AsyncGenerator[Any, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
