# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,union-attr"
# mypy: allow-untyped-calls, allow-any-generics
"""Rows that wait with Celery itself: ours, and what there was before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from kombu import pools

from .measure import WITHIN, Traveller
from .stock import ANSWER, make_app

if TYPE_CHECKING:
    from .case import Case

__all__ = ("ours", "sync", "tier")


@contextmanager
def _app(case: Case) -> Iterator[Any]:
    app = make_app(case.redis, case.queue)
    try:
        yield app
    finally:
        app.close()
        pools.reset()


def _check(found: Any) -> None:
    if found != ANSWER:
        raise RuntimeError(f"{found!r} is not the result")


def tier(case: Case) -> str:
    """How `aget` runs in this process, as the bridge explains it."""
    import celery_async_bridge

    with _app(case) as app:
        rows = celery_async_bridge.explain(app)
        return next(
            row.tier
            for row in rows
            if row.cls.endswith("AsyncResult") and row.method == "aget"
        )


@asynccontextmanager
async def ours(case: Case) -> AsyncIterator[Traveller]:
    """`adelay`, then `aget`."""
    import celery_async_bridge

    celery_async_bridge.install()
    with _app(case) as app:
        noop = app.noop

        async def trip(number: int) -> None:
            result = await noop.adelay(number)
            _check(await result.aget(timeout=WITHIN))

        try:
            yield Traveller(trip)
        finally:
            await celery_async_bridge.aclose()


@asynccontextmanager
async def sync(case: Case) -> AsyncIterator[Traveller]:
    """`delay`, then `get`, in a thread for each who waits."""
    with _app(case) as app:
        noop = app.noop

        def trip(number: int) -> None:
            _check(noop.delay(number).get(timeout=WITHIN))

        yield Traveller(blocking=trip)
