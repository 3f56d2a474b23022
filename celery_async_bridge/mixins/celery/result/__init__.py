"""Twins for `celery.result`; the classes have a module each."""

from __future__ import annotations

from functools import partial
from typing import Any

from ....core.dispatch import perform
from .._route import backend_route

__all__ = ("aresult_from_tuple", "aresult_set")


async def aresult_from_tuple(r: Any, app: Any = None) -> Any:
    """Await the result object that a tuple of `as_tuple()` stands for.

    Mirrors `celery.result.result_from_tuple`, which subscribes to every member of a
    group with backends that push their results (Redis).

    Arguments:
        r: the tuple, or a result, which is returned as it is.
        app: the app; the current one by default.
    """
    from celery import result
    from celery.app import app_or_default

    route = backend_route(app_or_default(app))
    make = partial(result.result_from_tuple, r, app)
    return await perform(route, make, deadline=route.deadline)


async def aresult_set(results: Any, app: Any = None, **kwargs: Any) -> Any:
    """Await a `celery.result.ResultSet` of these results.

    The sync constructor subscribes to each result with backends that push.

    Arguments:
        results: the results, in order.
        app: the app; that of the first result by default.
        kwargs: for the constructor.
    """
    from celery import result as upstream
    from celery.app import app_or_default

    owner = app or getattr(next(iter(results), None), "app", None)
    route = backend_route(app_or_default(owner))
    make = partial(upstream.ResultSet, results, app=app, **kwargs)
    return await perform(route, make, deadline=route.deadline)
