"""How `aget` waits: upstream's steps, with the wait taken out of the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ....core.dispatch import is_native, talk
from ....core.gate import gate
from .._waiting import in_tier, is_patient, timed_out, watching
from ..backends._route import backend_object_route
from ._settling import settles_at_once

__all__ = ("ancestors", "wait_for_result")

#: How many results are kept on the spot in the place of one call.
_LIGHT = 4


def ancestors(result: Any) -> Iterator[Any]:
    """Yield the results whose failure ends the wait for `result`."""
    node = result.parent
    while node is not None:
        yield from _members(node)
        node = node.parent


def _members(node: Any) -> Iterator[Any]:
    if hasattr(node, "_cache"):
        if node._cache is None:
            yield node
    else:
        for member in node.results:
            yield from _members(member)


async def wait_for_result(
    result: Any,
    *,
    timeout: float | None,
    interval: float | None,
    on_interval: Callable[[], object] | None,
    on_message: Callable[[dict[str, Any]], object] | None,
    callback: Callable[[str, Any], object] | None,
    propagate: bool,
    parents: bool = False,
    backend: Any = None,
    **kwargs: Any,
) -> Any:
    """Do what a backend's `wait_for_pending` does.

    Arguments:
        result: the `AsyncResult`.
        timeout: seconds, or None.
        interval: seconds between two looks, at most.
        on_interval: called after each interval without a result.
        on_message: called with each meta that arrives.
        callback: called with the task's id and value.
        propagate: raise the task's exception.
        parents: raise the error of a parent that fails meanwhile.
        backend: where to wait, if not at the result's own backend.
        kwargs: further options, which only a backend with a wait of its own gets.
    """
    backend = result.backend if backend is None else backend
    route = backend_object_route(backend)
    refused = on_message is not None and not backend.is_async
    if refused or not is_patient(backend):
        whole = partial(
            backend.wait_for_pending,
            result,
            timeout=timeout,
            interval=interval,
            on_interval=on_interval,
            on_message=on_message,
            callback=callback,
            propagate=propagate,
            **kwargs,
        )
        if is_patient(backend):
            return whole()  # raises before it looks
        # A wait that is not upstream's keeps a thread of the waiting lane.
        return await talk(route, whole)
    backend._ensure_not_eager()
    if backend.is_async and result.on_ready.ready:
        # Known before, and forgotten since: upstream's wait is over at once, too.
        return await in_tier(
            route, partial(result.maybe_throw, propagate=propagate, callback=callback)
        )
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    watched = {node.id: node for node in ancestors(result)} if parents else {}
    with watching(
        backend,
        {result.id, *watched},
        timeout=timeout,
        interval=interval,
        on_interval=on_interval,
        every=on_message is not None,
        route=route,
    ) as watch:
        while True:
            try:
                task_id, meta = await watch.next()
            except TimeoutError:
                raise timed_out() from None
            ready = meta["status"] in backend.READY_STATES
            if task_id != result.id:
                if ready:
                    await in_tier(route, partial(_reraise, watched[task_id], meta))
                continue
            if on_message is not None and meta["status"] != "PENDING":
                on_message(meta)
            if ready:
                break
        # A parent's reply may have come in the same look; where replies are messages
        # it comes only once.
        besides = watch.more()
        known = [(watched[id_], other) for id_, other in besides if id_ in watched]
        # Not a closure: ten thousand wait, and each would have a cell for all it uses.
        settle = partial(_settle, result, meta, known, propagate, callback)
        alone = callback is None and not besides
        if alone and is_native(route) and settles_at_once(result, backend, meta):
            # Behind others all the same: those of one look come together.
            await gate(route.starts * _LIGHT)
            return settle()
        left = None if end is None else end - loop.time()
        return await in_tier(route, settle, left)


def _settle(
    result: Any,
    meta: dict[str, Any],
    parents: list[tuple[Any, dict[str, Any]]],
    propagate: bool,
    callback: Callable[[str, Any], object] | None,
) -> Any:
    for parent, other in parents:
        parent._maybe_set_cache(other)
    result._maybe_set_cache(meta)
    return result.maybe_throw(propagate=propagate, callback=callback)


def _reraise(parent: Any, meta: dict[str, Any]) -> None:
    parent._maybe_set_cache(meta)
    parent.maybe_throw()
