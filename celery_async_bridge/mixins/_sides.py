"""Which servers a twin talks to, and whether it waits there for what others do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._twin import kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ("LOCAL_ROUTES", "pushed_of", "route_of", "sides_of", "waits_of")

# Which servers the twins of a class talk to, by the longest matching path.
_BROKER, _BACKEND = ("broker",), ("backend",)
_BOTH = ("broker", "backend")
_SIDES: dict[str, tuple[str, ...]] = {
    "kombu": _BROKER,
    "amqp": _BROKER,
    "celery": _BROKER,
    "celery.app.base.Celery.asend_task": _BOTH,
    "celery.app.task": _BOTH,
    "celery.app.trace": _BOTH,
    "celery.backends": _BACKEND,
    "celery.canvas": _BOTH,
    "celery.contrib": _BOTH,
    "celery.contrib.abortable": _BACKEND,
    "celery.result": _BACKEND,
    "celery.result.AsyncResult.arevoke": _BROKER,
    "celery.result.AsyncResult.arevoke_by_stamped_headers": _BROKER,
    "celery.result.ResultSet.arevoke": _BROKER,
    "celery.result.EagerResult": (),
}
# The same for methods that take another route than the rest of their class.
_ROUTES: dict[str, tuple[str, ...]] = {
    "_bridge_backend_route": _BACKEND,
    "_bridge_both_route": _BOTH,
    "_bridge_broker_route": _BROKER,
    "_bridge_sending_route": _BOTH,
}
# Twins that never leave for a server by themselves.
LOCAL_ROUTES = {
    "_bridge_commit_route": "runs in the thread of Django's connections",
    "_bridge_local_route": "asks no server",
}
# Twins that wait for what others do, besides those whose kind says so.
_WAITING: dict[str, set[str] | None] = {
    "celery.app.control.Inspect": None,
    "celery.backends": {"await_for", "await_for_pending"},
    "kombu.simple": {"aget"},
}
# Twins that wait for results: some drivers have those pushed.
_RESULTS: dict[str, set[str]] = {
    "celery.backends": {"aget_many", "aiter_native"},
    "celery.result": {
        "acollect",
        "aget",
        "aget_leaf",
        "aiter_native",
        "aiterate",
        "aitercollect",
        "ajoin",
        "ajoin_native",
        "await",
    },
}


def route_of(twin: Any) -> str:
    """Name the method that gives the route of a twin."""
    mark = kind_of(twin)
    return "" if mark is None else mark.route


def sides_of(path: str, twin: Any) -> tuple[str, ...]:
    """Return the servers that a twin talks to, given its dotted name and itself."""
    route = route_of(twin)
    if route in LOCAL_ROUTES:
        return ()
    if route in _ROUTES:
        return _ROUTES[route]
    while path:
        if path in _SIDES:
            return _SIDES[path]
        path = path.rpartition(".")[0]
    return _BOTH


def waits_of(path: str, twin: Any) -> bool:
    """Whether a twin waits for what others do, rather than for an answer."""
    mark = kind_of(twin)
    if mark is not None and mark.kind in {"wait", "stream"}:
        return True
    return _listed(path, _WAITING) or _listed(path, _RESULTS)


def pushed_of(path: str) -> bool:
    """Whether a twin waits for results, which a driver may have pushed."""
    return _listed(path, _RESULTS)


def _listed(path: str, table: Mapping[str, Collection[str] | None]) -> bool:
    name = path.rpartition(".")[2]
    return any(
        path.startswith(f"{where}.") and (names is None or name in names)
        for where, names in table.items()
    )
