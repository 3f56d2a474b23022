"""Publish batches that hold for a coroutine and its children instead of a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.carry import register_carrier
from ...core.dispatch import perform
from .._twin import compound

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("AsyncBatch", "ProducerBatchMixin")

#: The batches that the running context is in, outermost first.
_batches: ContextVar[tuple[Any, ...]] = ContextVar(
    "celery_async_bridge_batches", default=()
)


@contextmanager
def _in_thread(batches: tuple[Any, ...]) -> Iterator[None]:
    # Upstream keeps the batch of a producer in a `threading.local`; a call of ours may
    # run in any thread.
    if not batches:
        yield
        return
    local = batches[0].producer._batch_local
    before = getattr(local, "current", None)
    local.current = batches[0].state
    try:
        with _in_thread(batches[1:]):
            yield
    finally:
        if before is not None:
            local.current = before
        else:
            with suppress(AttributeError):
                del local.current


def _active() -> tuple[Any, ...]:
    return tuple(batch for batch in _batches.get() if batch.active)


def _carrier() -> Callable[[], AbstractContextManager[Any]] | None:
    batches = _active()
    return partial(_in_thread, batches) if batches else None


def _route(batch: Any) -> Route:
    from .messaging import producer_route

    return producer_route(batch.producer)


def _enter(batch: Any) -> None:
    register_carrier(_carrier)
    with _in_thread(_active()):
        batch.__enter__()
        if batch.is_outermost:
            del batch.producer._batch_local.current
    _batches.set((*_batches.get(), batch))


async def _leave(batch: Any, exc_info: tuple[Any, ...]) -> None:
    def leave() -> None:
        with _in_thread((batch,)):
            batch.__exit__(*exc_info)

    route = _route(batch)
    try:
        await perform(route, leave, deadline=route.deadline)
    finally:
        _batches.set(tuple(other for other in _batches.get() if other is not batch))


async def _flush(batch: Any) -> None:
    route = _route(batch)
    await perform(route, batch.flush, deadline=route.deadline)


class AsyncBatch:
    """What `Producer.abatch` returns: for `async with`."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    async def aflush(self) -> None:
        """Await the sending of what the batch holds.

        Raises:
            RuntimeError: the batch is not entered, or has failed.
        """
        await _flush(self._batch)

    async def __aenter__(self) -> AsyncBatch:
        """Begin the batch for the running coroutine and the tasks it starts."""
        _enter(self._batch)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        """Send the rest; after an exception drop it."""
        await _leave(self._batch, exc_info)


class ProducerBatchMixin:
    """Awaitable methods of what `kombu.Producer.batch` returns."""

    def _bridge_route(self) -> Route:
        return _route(self)

    @compound("flush")
    async def aflush(self) -> None:
        """Await the sending of what the batch holds.

        Mirrors `flush` of the batch.

        Raises:
            RuntimeError: the batch is not entered, or has failed.
        """
        await _flush(self)

    @compound("__enter__")
    async def __aenter__(self) -> Any:
        """Begin the batch for the running coroutine and the tasks it starts."""
        _enter(self)
        return self

    @compound("__exit__")
    async def __aexit__(self, *exc_info: Any) -> None:
        """Send the rest; after an exception drop it."""
        await _leave(self, exc_info)
