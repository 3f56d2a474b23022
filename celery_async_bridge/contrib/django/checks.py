"""What `manage.py check` says about the bridge.

Each check looks at the project's Celery app, and says nothing where there is none. The
ids are `celery_async_bridge.E001`, `W001`, ...: for `SILENCED_SYSTEM_CHECKS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import celery
from celery import _state as celery_state
from celery import concurrency
from celery.concurrency.base import BasePool
from django.conf import settings
from django.core import checks

from ...core.dispatch import is_native
from ...core.registry import driver_for, why_absent
from ...install import DISABLE, enabled
from ...mixins.celery._route import send_route
from ...mixins.celery._settings import DEFAULTS

if TYPE_CHECKING:
    from ...core.route import Endpoint

__all__ = ("check_bridge",)

#: The oldest release of Celery whose classes the twins fit.
_OLDEST = (5, 5)
_ID = "celery_async_bridge"
#: Untyped: the stubs know only half of it.
_state: Any = celery_state


def check_bridge(app_configs: Any = None, **options: Any) -> list[checks.CheckMessage]:
    """Return all findings about the default Celery app of the process.

    Arguments:
        app_configs: what Django passes; the findings concern no application alone.
        options: what else it passes.
    """
    found: list[checks.CheckMessage] = []
    if tuple(celery.VERSION[:2]) < _OLDEST:
        release = ".".join(map(str, _OLDEST))
        found.append(
            checks.Error(
                f"Celery {celery.__version__} is older than {release}",
                hint=f"pip install 'celery>={release}'",
                id=f"{_ID}.E001",
            )
        )
    app = _state.default_app
    if app is not None:
        for look in (_slow_sends, _pool, _unknown_settings):
            found += look(app)
    return found


def _slow_sends(app: Any) -> Iterator[checks.CheckMessage]:
    """W001: sends run in threads."""
    route = send_route(app)
    if not enabled() or is_native(route):
        return
    absent = [one for one in route.endpoints if not _has_driver(one)]
    names = ", ".join(f"{one.scheme} ({one.side})" for one in absent)
    reasons = {why_absent(one.scheme) for one in absent} - {""}
    yield checks.Warning(
        f"`await task.adelay()` runs in a thread: no native driver for {names}",
        hint="; ".join(sorted(reasons)) or "it works, but slower; README.md has a list",
        id=f"{_ID}.W001",
    )


def _has_driver(endpoint: Endpoint) -> bool:
    driver = driver_for(endpoint.scheme, endpoint.side)
    return driver is not None and driver.takes(endpoint)


def _pool(app: Any) -> Iterator[checks.CheckMessage]:
    """W002: `worker_pool` names no pool."""
    name = app.conf.worker_pool
    if name in concurrency.get_available_pool_names():
        return
    try:
        implementation = concurrency.get_implementation(name)
        if issubclass(implementation, BasePool):
            return
    except (ImportError, AttributeError, TypeError, ValueError):
        pass
    yield checks.Warning(
        f"worker_pool = {name!r} names no pool",
        hint="prefork, threads, solo, gevent, eventlet or asyncio"
        + ("" if enabled() else f"; {DISABLE}=0 switches the last one off"),
        id=f"{_ID}.W002",
    )


def _unknown_settings(app: Any) -> Iterator[checks.CheckMessage]:
    """W003: a setting that begins like one of ours."""
    prefix = f"{app.namespace}_".upper() if app.namespace else ""
    for key in dir(settings):
        name = key.upper().removeprefix(prefix).lower()
        if not key.upper().startswith(f"{prefix}ASYNC_") or name in DEFAULTS:
            continue
        close = difflib.get_close_matches(name, DEFAULTS, 1, 0.0)[0]
        yield checks.Warning(
            f"{key} is no setting of celery-async-bridge",
            hint=f"did you mean {(prefix + close).upper()}?",
            id=f"{_ID}.W003",
        )
