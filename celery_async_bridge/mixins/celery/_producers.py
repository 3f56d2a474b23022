"""Producers for calls that run on a loop: one for each that is in flight.

Kombu's pools block the thread when they are empty, and neither `Producer` nor
`Connection` is re-entrant: the first that fails would pull the transport from under
the others. They are plain objects here: on the wire they share the loop's connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...core.graft import Seam
from ...core.loops import LoopLocal
from ...core.registry import suspends
from ...core.trampoline import await_, current_call, in_trampoline
from ..kombu._pooling import polling
from ._bursting import borrowed, returned
from ._route import app_route

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("LIMIT", "LoopProducers", "producer_seams")

#: Calls of one app and loop that may hold a producer at once.
LIMIT = 64


class LoopProducers:
    """Stands for an app's producer pool in the trampolines of one loop.

    Arguments:
        pool: the app's own pool, which says what producers and connections are like.
        limit: how many there may be; calls that need several at once may exceed it.
    """

    def __init__(self, pool: Any, limit: int = LIMIT) -> None:
        self._pool = pool
        self._left = limit
        self.limit = limit
        self._free: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        #: Trampolined call -> how many it holds.
        self._holders: Counter[object] = Counter()

    @property
    def connections(self) -> Any:
        """The app's own connection pool; upstream asks it what the transport is."""
        return self._pool.connections

    def acquire(self, block: bool = False, timeout: float | None = None) -> Any:
        """Return a producer; where all are in use, wait for one on the loop.

        Raises:
            kombu.exceptions.LimitExceeded: none came within `timeout` seconds.
        """
        if self._free:
            return self._lend(self._free.pop())
        # Who holds one and wants another (a chord within a group) does not wait: all
        # might wait for what the others hold.
        if self._left > 0 or (block and current_call() in self._holders):
            self._left -= 1
            try:
                return self._lend(self._make())
            except BaseException:
                self._left += 1
                raise
        if not block:
            raise self._pool.LimitExceeded(self.limit)
        return self._lend(await_(self._next(timeout)))

    def _make(self) -> Any:
        # What another loop has left knows what is declared; it has no socket that
        # would belong to that loop.
        left = _left_behind.get(self._pool)
        if left:
            with suppress(IndexError):  # another thread was quicker
                return left.pop()
        connection = self._pool.connections.connection.clone()
        return self._pool.Producer(connection)

    def _lend(self, producer: Any) -> Any:
        holder = current_call()
        self._holders[holder] += 1
        # On the instance, as Kombu's own pools do; a second release has no effect.
        producer.release = partial(self._back, producer, holder)
        borrowed(producer, self)
        return producer

    def _back(self, producer: Any, holder: object) -> None:
        producer.release = _nothing
        returned(producer)
        self._holders[holder] -= 1
        if not self._holders[holder]:
            del self._holders[holder]
        self._keep(producer)

    def _keep(self, producer: Any) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(producer)
                return
        if self._left < 0:
            self._left += 1
        else:
            self._free.append(producer)

    async def _next(self, timeout: float | None) -> Any:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            if timeout is None:
                return await waiter
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
            await asyncio.wait({waiter}, timeout=timeout)
            if waiter.done():
                return waiter.result()
            raise self._pool.LimitExceeded(self.limit)
        except BaseException:
            # One whose coroutine was closed must not be served later.
            if not waiter.cancel() and not waiter.cancelled():
                self._keep(waiter.result())
            raise

    def leave(self) -> None:
        """Leave the producers that nobody holds to the loops that come."""
        free, self._free = self._free, []
        self._left += len(free)
        left = _left_behind.setdefault(self._pool, [])
        left += free[: max(self.limit - len(left), 0)]

    def serves(self, pool: Any) -> bool:
        """Whether this stands for `pool`: an app that is reset gets another one."""
        return pool is self._pool


def _nothing() -> None:
    """Stand for the release of a producer that was released."""


#: Pool -> producers of loops that have ended.
_left_behind: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


def _close_all(found: WeakKeyDictionary[Any, LoopProducers]) -> None:
    for producers in list(found.values()):
        producers.leave()
    found.clear()


_local: LoopLocal[WeakKeyDictionary[Any, LoopProducers]] = LoopLocal(
    WeakKeyDictionary, _close_all
)


def _suspends(app: Any) -> bool:
    return suspends(app_route(app).endpoints[0])


def _producer_pool(original: Any) -> Any:
    read: Callable[[Any], Any] = original.fget

    def producer_pool(self: Any) -> Any:
        # Who holds one for the length of a block takes it from the app's own pool.
        if not in_trampoline() or polling.get() or not _suspends(self):
            return read(self)
        found, pool = _local.get(), read(self)
        producers = found.get(self)
        if producers is None or not producers.serves(pool):
            producers = found[self] = LoopProducers(pool)
        return producers

    return property(producer_pool, original.fset, original.fdel, original.__doc__)


def producer_seams() -> list[Seam]:
    """Return the row for the app's producer pool."""
    from celery import Celery

    return [
        Seam(
            Celery,
            "producer_pool",
            _producer_pool,
            "a",
            "a call on the loop must not wait for a pool that blocks the thread",
        )
    ]
