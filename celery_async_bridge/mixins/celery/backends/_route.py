"""Routes of result-backend objects, and of the results that hold one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....core.mask import mask
from ....core.route import Endpoint, Route
from .._route import app_route, backend_route, kept

__all__ = (
    "backend_object_route",
    "is_apps_own",
    "poll_route",
    "sending_route",
)

# Classes whose URL scheme is that of their client, behind a prefix of Celery's.
_PREFIXES = {"celery.backends.cache": "cache+", "celery.backends.database": "db+"}


def is_apps_own(backend: Any) -> bool:
    """Whether a backend is what `app.backend` gives, in whichever thread."""
    url = kept(backend.app, "url of the backend", _url_of_backend)
    return not backend.url if url is None else bool(backend.url == url)


def _url_of_backend(app: Any) -> str | None:
    """Return what the `url` of the app's own backend is; None if it has none."""
    url = app.backend_cls or app.conf.result_backend
    if not isinstance(url, str) or "://" not in url:
        return None
    scheme = url.partition("://")[0]
    return url.partition("+")[2] if "+" in scheme else url


def _endpoint(backend: Any) -> Endpoint:
    cls = type(backend)
    url = backend.url if isinstance(backend.url, str) else ""
    if "://" in url:
        prefix = next(
            (
                _PREFIXES[base.__module__]
                for base in cls.__mro__
                if base.__module__ in _PREFIXES
            ),
            "",
        )
        scheme = prefix + url.partition("://")[0].lower()
        return Endpoint("backend", scheme, (cls, url), mask(url), backend)
    return Endpoint("backend", cls.__name__, (cls, id(backend)), cls.__name__, backend)


def _needs_turn(backend: Any) -> bool:
    # Since 5.7 the Redis backend locks its subscription socket; its other commands
    # have always had a connection of their own.
    consumer = vars(backend).get("result_consumer")
    return not (
        getattr(backend, "thread_safe", False) or hasattr(consumer, "_pubsub_lock")
    )


def backend_object_route(backend: Any) -> Route:
    """Route of a call on a backend object: the server that its URL names.

    A backend object belongs to one thread in upstream; ours take turns.
    """
    route = backend_route(backend.app)
    if not route.endpoints or not is_apps_own(backend):
        route = replace(route, endpoints=(_endpoint(backend),), pin=None)
    if route.pin is not None:
        _settle_queue_name(backend)
        return route
    return replace(route, guard=backend) if _needs_turn(backend) else route


def _settle_queue_name(backend: Any) -> None:
    # The reply queue is named after the thread that asks first: for a backend of the
    # running thread, this one and not the pinned one.
    app: Any = backend.app
    if getattr(app._local, "backend", None) is backend:
        vars(backend).setdefault("oid", app.thread_oid)


def sending_route(backend: Any) -> Route:
    """Route of a backend call that may publish messages too (chords, callbacks)."""
    route = backend_object_route(backend)
    return replace(
        route, endpoints=(*route.endpoints, *app_route(backend.app).endpoints)
    )


def poll_route(backend: Any) -> Route:
    """Route of a poller's looks: one thread per backend, apart from the calls."""
    route = backend_object_route(backend)
    if route.pin is not None:
        return route
    first = route.endpoints[0]
    return replace(
        route,
        endpoints=(replace(first, key=("poll", first.key)),),
        threads=1,
        # The thread uses its own `app.backend`, unless this one is of another kind.
        guard=None if is_apps_own(backend) else route.guard,
    )
