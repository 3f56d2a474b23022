"""The names of the asyncio pool, where upstream looks a pool up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from ...core.graft import Seam

__all__ = ("OWN_NAME", "POOL", "names", "pool_seams")

POOL = "celery_async_bridge.worker.pool:TaskPool"
#: The name that no release of Celery will take.
OWN_NAME = "async-bridge"


def names(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that the pool has beside the `known` ones.

    The day upstream has an `asyncio` pool of its own, that name is upstream's.
    """
    return tuple(name for name in ("asyncio", OWN_NAME) if name not in known)


def _known() -> dict[str, Any]:
    import celery.concurrency

    known: dict[str, Any] = vars(celery.concurrency)["ALIASES"]
    return known


def _get_implementation(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(original)
    def get_implementation(cls: Any) -> Any:
        ours = isinstance(cls, str) and cls in names(_known())
        return original(POOL if ours else cls)

    return get_implementation


def _get_names(original: Callable[[], Any]) -> Callable[[], Any]:
    @wraps(original)
    def get_available_pool_names() -> Any:
        return (*original(), *names(_known()))

    return get_available_pool_names


def _convert(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def convert(self: Any, value: Any, param: Any, ctx: Any) -> Any:
        from celery import concurrency

        if value in names(_known()):
            return concurrency.get_implementation(value)
        return original(self, value, param, ctx)

    return convert


def pool_seams() -> list[Seam]:
    """Return the rows that make `asyncio` the name of a pool."""
    import celery.concurrency

    why = "`asyncio` names a pool; upstream would take the module of that name for one"
    rows = [
        Seam(celery.concurrency, "get_implementation", _get_implementation, "c", why),
        Seam(celery.concurrency, "get_available_pool_names", _get_names, "c", why),
    ]
    worker = sys.modules.get("celery.bin.worker")
    if worker is not None:
        why = "click froze the choices of `-P` when the command was imported"
        rows.append(Seam(worker.WorkersPool, "convert", _convert, "c", why))
    return rows
