"""The metas of many tasks, as they arrive: upstream's `get_many` and `iter_native`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

from ...core.dispatch import stream
from ._waiting import in_tier, timed_out, watching
from .backends._route import backend_object_route

__all__ = ("iterate", "many", "rounds")

OnMessage = Callable[[dict[str, Any]], object] | None
OnInterval = Callable[[], object] | None


async def many(
    backend: Any,
    task_ids: Iterable[str],
    *,
    timeout: float | None,
    interval: float | None,
    on_message: OnMessage,
    on_interval: OnInterval,
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Iterate over `(task_id, meta)` of the ready tasks, cached ones first."""
    ids = set(task_ids)
    for task_id in list(ids):
        try:
            meta = backend._cache[task_id]
        except KeyError:
            continue
        if meta["status"] in backend.READY_STATES:
            ids.discard(task_id)
            yield task_id, meta
    if not ids:
        return
    with watching(
        backend, ids, timeout=timeout, interval=interval, on_interval=on_interval
    ) as watch:
        while len(watch):
            try:
                task_id, meta = await watch.next()
            except TimeoutError:
                raise timed_out(f"Operation timed out ({timeout})") from None
            if on_message is not None:
                on_message(meta)
            yield task_id, meta


async def rounds(
    backend: Any,
    task_ids: Iterable[str],
    *,
    timeout: float | None,
    interval: float | None,
    on_interval: OnInterval,
    max_iterations: int | None,
    **options: Any,
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Iterate like `get_many` does, one of its rounds at a time."""
    ids = set(task_ids)
    pause = 0.5 if interval is None else interval
    elapsed, done = 0.0, 0
    while ids:
        look = partial(
            _all, backend.get_many, set(ids), interval=0, max_iterations=1, **options
        )
        for task_id, meta in await in_tier(backend_object_route(backend), look):
            ids.discard(task_id)
            yield task_id, meta
        done += 1
        if not ids or (max_iterations and done >= max_iterations):
            return
        if timeout is not None and elapsed >= timeout:
            raise timed_out(f"Operation timed out ({timeout})")
        if on_interval is not None:
            on_interval()
        nap = pause if timeout is None else min(pause, timeout - elapsed)
        await asyncio.sleep(nap)
        elapsed += nap


def _all(make: Callable[..., Iterable[Any]], *args: Any, **kwargs: Any) -> list[Any]:
    return list(make(*args, **kwargs))


def iterate(
    backend: Any,
    result: Any,
    *,
    timeout: float | None = None,
    interval: float | None = 0.5,
    no_ack: bool = True,
    on_message: OnMessage = None,
    on_interval: OnInterval = None,
) -> AsyncIterator[tuple[str, Any]]:
    """Iterate over `(task_id, meta)` of a `ResultSet`, as results arrive.

    For a nested set the second item is the list of its results.
    """
    from celery.backends.asynchronous import AsyncBackendMixin
    from celery.backends.base import BaseKeyValueStoreBackend, SyncBackendMixin

    cls = type(backend)
    options = {"timeout": timeout, "interval": interval, "on_interval": on_interval}
    base = AsyncBackendMixin if backend.is_async else SyncBackendMixin
    known = getattr(cls, "iter_native", None) is base.iter_native
    if known and backend.is_async:
        return _pushed(backend, result, on_message=on_message, **options)
    if known and getattr(cls, "get_many", None) is BaseKeyValueStoreBackend.get_many:
        return _stored(backend, result, on_message=on_message, **options)
    make = partial(
        backend.iter_native, result, no_ack=no_ack, on_message=on_message, **options
    )
    return stream(backend_object_route(backend), make)


async def _stored(
    backend: Any, result: Any, **options: Any
) -> AsyncIterator[tuple[str, Any]]:
    from celery.result import ResultSet

    backend._ensure_not_eager()
    ids = set()
    for node in result.results:
        if isinstance(node, ResultSet):
            yield node.id, node.results  # type: ignore[attr-defined]
        else:
            ids.add(node.id)
    async for pair in many(backend, ids, **options):
        yield pair


async def _pushed(
    backend: Any,
    result: Any,
    *,
    on_message: OnMessage,
    **options: Any,
) -> AsyncIterator[tuple[str, Any]]:
    backend._ensure_not_eager()
    route = backend_object_route(backend)
    nodes: dict[str, list[Any]] = {}
    for node in result.results:
        if not hasattr(node, "_cache"):
            yield node.id, node.children
        elif node._cache:
            yield node.id, node._cache
        else:
            nodes.setdefault(node.id, []).append(node)
    if not nodes:
        return
    every = on_message is not None
    with watching(backend, nodes, every=every, **options) as watch:
        while len(watch):
            try:
                found = [await watch.next()]
            except TimeoutError:
                raise timed_out() from None
            # One hop for all that has come together.
            found += watch.more()
            if on_message is not None:
                for _, meta in found:
                    if meta["status"] != "PENDING":
                        on_message(meta)
            ready = [one for one in found if one[1]["status"] in backend.READY_STATES]
            await in_tier(route, partial(_keep, nodes, ready))
            for task_id, _ in ready:
                for node in nodes[task_id]:
                    yield task_id, node._cache


def _keep(nodes: dict[str, list[Any]], metas: list[tuple[str, Any]]) -> None:
    for task_id, meta in metas:
        for node in nodes[task_id]:
            node._maybe_set_cache(meta)
