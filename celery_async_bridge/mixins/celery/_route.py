"""Routes of Celery objects: broker and result backend, by the URLs of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from ...core.mask import mask
from ...core.route import Endpoint, Expired, Route
from ..kombu._route import broker_of
from . import _stacks as _stacks  # every call takes Celery's stacks along
from ._settings import setting

__all__ = (
    "app_route",
    "backend_endpoint",
    "backend_route",
    "broker_endpoint",
    "kept",
    "local_route",
    "run_with_django",
    "send_route",
)


T = TypeVar("T")


def _publish_expired(expired: Expired) -> BaseException:
    from ...errors import publish_timeout

    return publish_timeout(expired)


def _backend_expired(expired: Expired) -> BaseException:
    from ...errors import backend_timeout

    return backend_timeout(expired)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def broker_endpoint(app: Any) -> Endpoint:
    """Describe the broker that the app writes to, without making a connection."""
    conf = app.conf
    url = conf.broker_write_url or conf.broker_url
    if isinstance(url, str) and "://" in url.partition(";")[0]:
        scheme = _scheme(conf.broker_transport or url)
        return Endpoint("broker", scheme, url, mask(url))
    return broker_of(app.connection_for_write())


def backend_endpoint(app: Any) -> Endpoint | None:
    """Describe the app's result backend without building it; None if disabled."""
    url = app.backend_cls or app.conf.result_backend
    if not url or url == "disabled":
        return None
    if not isinstance(url, str):
        return Endpoint("backend", "custom", url, getattr(url, "__name__", "custom"))
    return Endpoint("backend", _scheme(url), url, mask(url))


def _pin(app: Any, backend: Endpoint | None) -> object:
    # rpc names its reply queue after the thread: the thread that sends must be the one
    # that waits.
    return ("rpc", id(app)) if backend is not None and backend.scheme == "rpc" else None


class _Memo:
    """The routes of an app for as long as its configuration is what it was."""

    def __init__(self, app: Any) -> None:
        # Weakly: it tells `app.amqp` of changes, so it keeps its app.
        self._conf: Any = ref(app.conf)
        self._changes = dict(app.conf.changes)
        self._backend = app.backend_cls
        self.kept: dict[str, Any] = {}

    def holds(self, app: Any) -> bool:
        """Whether nothing was assigned since; assignments go unannounced."""
        conf, known = app.conf, self._conf()
        return (
            known is conf
            and conf.changes == self._changes
            and app.backend_cls is self._backend
        )


_memos: WeakKeyDictionary[Any, _Memo] = WeakKeyDictionary()


def kept(app: Any, name: str, make: Callable[[Any], T]) -> T:
    """Return what `make(app)` returned first, until the configuration changes."""
    # Masking URLs and reading a dozen settings would cost a send a fifth of its time.
    if hasattr(type(app), "_get_current_object"):
        app = app._get_current_object()  # a proxy cannot be referred to weakly
    memo = _memos.get(app)
    if memo is None or not memo.holds(app):
        memo = _Memo(app)
        _memos[app] = memo
    try:
        value: T = memo.kept[name]
    except KeyError:
        value = memo.kept[name] = make(app)
    return value


def app_route(app: Any) -> Route:
    """Route of a broker call of an app: control, events, connections."""
    return kept(app, "app", _app_route)


def _app_route(app: Any) -> Route:
    return Route(
        endpoints=(broker_endpoint(app),),
        deadline=setting(app, "async_publish_timeout"),
        threads=setting(app, "async_threads"),
        starts=setting(app, "async_start_gate"),
        retries_uncertain=setting(app, "async_retry_uncertain"),
        in_flight=setting(app, "async_max_inflight"),
        expired=_publish_expired,
    )


def send_route(app: Any, *, results: bool = True) -> Route:
    """Route of a send: the broker, and the backend that is told of the call."""
    if results:
        return kept(app, "send", _send_route)
    return kept(app, "send without a result", _app_route)


def _send_route(app: Any) -> Route:
    broker = broker_endpoint(app)
    backend = backend_endpoint(app)
    return Route(
        endpoints=(broker,) if backend is None else (broker, backend),
        pin=_pin(app, backend),
        deadline=setting(app, "async_publish_timeout"),
        threads=setting(app, "async_threads"),
        starts=setting(app, "async_start_gate"),
        retries_uncertain=setting(app, "async_retry_uncertain"),
        in_flight=setting(app, "async_max_inflight"),
        expired=_publish_expired,
    )


def backend_route(app: Any) -> Route:
    """Route of a call on the app's result backend."""
    return kept(app, "backend", _backend_route)


def _backend_route(app: Any) -> Route:
    backend = backend_endpoint(app)
    return Route(
        endpoints=() if backend is None else (backend,),
        pin=_pin(app, backend),
        deadline=setting(app, "async_publish_timeout"),
        threads=setting(app, "async_threads"),
        starts=setting(app, "async_start_gate"),
        in_flight=setting(app, "async_max_inflight"),
        expired=_backend_expired,
    )


_with_django = False


def run_with_django(on: bool) -> None:
    """Have sync task bodies that a caller awaits run where Django's connections are.

    In eager mode they are part of the caller's transaction, as with the sync methods.
    """
    global _with_django
    _with_django = on


def local_route(app: Any) -> Route:
    """Route of user code that is not about a server (a sync task body)."""
    return Route(
        endpoints=(Endpoint("local", "local", ("local", id(app)), "a task body"),),
        threads=setting(app, "async_threads"),
        starts=setting(app, "async_start_gate"),
        sensitive=_with_django,
    )
