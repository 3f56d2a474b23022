"""Twins for `kombu.resource`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform
from .._twin import Making, compound, leaf
from ._pooling import acquire
from ._route import route_of

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("ResourceMixin", "pool_route")


def pool_route(pool: Any) -> Route:
    """Route of a pool: to its broker, past the turns of its connections."""
    beneath = getattr(pool, "connections", pool)
    route = route_of(getattr(beneath, "connection", None))
    return replace(route, guard=None)


class ResourceMixin:
    """Awaitable methods of `kombu.resource.Resource`, the base of all pools.

    A pool is thread-safe, so its calls do not wait for one another. Coroutines that
    wait for a pooled object are served first come, first served, and hold no thread;
    threads that wait with the sync `acquire` compete with them.
    """

    def _bridge_route(self) -> Route:
        return pool_route(self)

    @compound("acquire", "make")
    def aacquire(self, block: bool = False, timeout: float | None = None) -> Making:
        """Acquire a pooled object: `await` it, or `async with` to give it back.

        Mirrors `kombu.resource.Resource.acquire`. What a cancelled call would have
        got goes back to the pool.

        Arguments:
            block: wait when the pool is empty.
            timeout: seconds to wait at most, with `block`; it covers the connection
                beneath a producer, too.

        Raises:
            LimitExceeded: the pool is empty, or still was after `timeout` seconds.
            RuntimeError: the pool is closed.
        """
        return Making(
            self,
            lambda then: acquire(self, self._bridge_route(), then, block, timeout),
        )

    @leaf
    async def arelease(self, resource: Any) -> None:
        """Await the return of an object to the pool.

        Mirrors `kombu.resource.Resource.release`. A pool without limit closes it.
        """
        ...

    @leaf
    async def areplace(self, resource: Any) -> None:
        """Await the closing of a broken object, whose place in the pool gets free.

        Mirrors `kombu.resource.Resource.replace`.
        """
        ...

    @leaf
    async def aresize(
        self,
        limit: int,
        force: bool = False,
        ignore_errors: bool = False,
        reset: bool = False,
    ) -> None:
        """Await the change of the pool's limit.

        Mirrors `kombu.resource.Resource.resize`.

        Arguments:
            limit: how many objects there may be.
            force: shrink although objects are in use: all are closed.
            ignore_errors: shrink without a check for objects in use.
            reset: close all objects in any case.

        Raises:
            RuntimeError: shrinking a pool that is in use.
        """
        ...

    @leaf
    async def aforce_close_all(self, close_pool: bool = True) -> None:
        """Await the closing of all objects, those in use included.

        Mirrors `kombu.resource.Resource.force_close_all`.

        Arguments:
            close_pool: the pool cannot be used any more.
        """
        ...

    @leaf
    async def acollect_resource(self, resource: Any) -> None:
        """Await the disposal of one object of the pool.

        Mirrors `kombu.resource.Resource.collect_resource`.
        """
        ...

    @leaf
    async def aclose_resource(self, resource: Any) -> None:
        """Await the closing of one object of the pool.

        Mirrors `kombu.resource.Resource.close_resource`.
        """
        ...

    @compound("limit")
    async def aset_limit(self, limit: int) -> None:
        """Await the assignment of the pool's limit.

        Mirrors setting `kombu.resource.Resource.limit`.

        Raises:
            RuntimeError: shrinking a pool that is in use.
        """
        route = self._bridge_route()
        await perform(
            route, partial(setattr, self, "limit", limit), deadline=route.deadline
        )
