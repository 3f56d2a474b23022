"""Async tasks in workers whose pool has no event loop: an error that says so."""

from __future__ import annotations

from typing import Any

from ._body import ensure_body, is_async_task, refuse_in

__all__ = ("ignore_workers", "watch_workers")

#: Upstream's pools that take a coroutine for a result. Another one may know better.
_POOLS = frozenset({"prefork", "thread", "solo", "gevent", "eventlet"})


def _on_worker_init(sender: Any = None, **_: Any) -> None:
    from celery import concurrency

    pool = concurrency.get_implementation(sender.pool_cls)
    module: str = getattr(pool, "__module__", "")
    package, _dot, name = module.rpartition(".")
    if package != "celery.concurrency" or name not in _POOLS:
        return
    refuse_in(name)
    for task in list(sender.app.tasks.values()):
        if is_async_task(task):
            # Before the pool forks and before the tracers are built.
            ensure_body(task)


def watch_workers() -> None:
    """Notice the workers that start in this process from now on."""
    from celery.signals import worker_init

    worker_init.connect(_on_worker_init, dispatch_uid=__name__, weak=False)


def ignore_workers() -> None:
    """Notice them no more."""
    from celery.signals import worker_init

    worker_init.disconnect(_on_worker_init, dispatch_uid=__name__)
    refuse_in(None)
