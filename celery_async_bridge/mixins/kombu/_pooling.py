"""Waiting for a pooled object without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform
from ...core.turn import turn_of
from .._twin import let_go

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("acquire", "polling")

#: Whether the running code asks a pool in vain rather than waits for it; it holds for
#: the connection pool beneath a producer pool, too.
polling: ContextVar[bool] = ContextVar("celery_async_bridge_polling", default=False)

#: Seconds between two looks at an empty pool, at first and at most.
_FIRST, _MOST = 0.001, 0.02


def _promising(pool: Any) -> bool:
    """Guess from its counters whether asking a pool is worth a call."""
    if pool._closed or not pool.limit:
        return True
    if not pool._resource.queue and len(pool._dirty) >= pool.limit:
        return False
    beneath = getattr(pool, "connections", None)
    return beneath is None or _promising(beneath)


async def acquire(
    pool: Any,
    route: Route,
    then: Callable[[Any], Any],
    block: bool,
    timeout: float | None,
) -> Any:
    """Acquire from a pool, first come, first served; `then` runs in the same tier.

    A thread per waiter would leave none for those who would give something back.
    """

    def ask() -> Any:
        token = polling.set(True)
        try:
            found = pool.acquire(block=False)
        finally:
            polling.reset(token)
        return then(found)

    async def attempt() -> Any:
        return await perform(route, ask, deadline=route.deadline, undo=let_go)

    beneath = getattr(pool, "connections", None)
    clock = asyncio.get_running_loop().time
    patience = timeout if block else route.deadline
    end = None if patience is None else clock() + patience
    turn = turn_of(pool, "acquire") if block else None
    if turn is not None:
        try:
            await turn.acquire(patience)
        except TimeoutError:
            return await attempt()
    try:
        pause = _FIRST
        while True:
            late = end is not None and clock() >= end
            if late or not block or _promising(pool):
                try:
                    return await attempt()
                except pool.LimitExceeded as exc:
                    # Not blocking is about the pool itself: upstream waits for the
                    # connection beneath a producer in any case.
                    mine = beneath is None or not isinstance(exc, beneath.LimitExceeded)
                    if late or (mine and not block):
                        raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MOST)
    finally:
        if turn is not None:
            turn.release()
