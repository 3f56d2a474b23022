"""Twins for `kombu.pools`."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...core.dispatch import perform
from .._twin import compound, leaf
from ._route import LOCAL
from .resource import ResourceMixin

__all__ = ("ProducerPoolMixin", "areset", "aset_limit")


class ProducerPoolMixin(ResourceMixin):
    """Awaitable methods of `kombu.pools.ProducerPool`."""

    @leaf(undo=lambda self, producer: producer.__connection__.release())
    async def acreate_producer(self) -> Any:
        """Await a new producer on a connection of the pool beneath.

        Mirrors `kombu.pools.ProducerPool.create_producer`. It waits at most 10 seconds
        for that connection; `aacquire` waits without a thread.
        """
        ...

    @leaf
    async def aprepare(self, p: Any) -> Any:
        """Await a producer that is ready for use: with a connection.

        Mirrors `kombu.pools.ProducerPool.prepare`.
        """
        ...

    @leaf
    async def arelease(self, resource: Any) -> None:
        """Await the return of a producer, and of its connection, to their pools.

        Mirrors `kombu.pools.ProducerPool.release`.
        """
        ...


@compound("reset")
async def areset(*args: Any, **kwargs: Any) -> None:
    """Await the closing of all pools of the process.

    Mirrors `kombu.pools.reset`.
    """
    from kombu.pools import reset

    await perform(LOCAL, partial(reset, *args, **kwargs))


@compound("set_limit")
async def aset_limit(
    limit: int,
    force: bool = False,
    reset_after: bool = False,
    ignore_errors: bool = False,
) -> int | None:
    """Await the change of the limit of all pools of the process.

    Mirrors `kombu.pools.set_limit`.
    """
    from kombu.pools import set_limit

    return await perform(
        LOCAL, lambda: set_limit(limit, force, reset_after, ignore_errors)
    )
