"""Wait for the metas of tasks, without holding a thread for the time it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import is_native, perform
from ...core.registry import Looks, driver_for
from ._poller import Failure, Feed, Fetch, Poller, Watch, poller_for
from ._sources import RpcSource, StoreSource
from .backends._route import backend_object_route, poll_route

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("TIMED_OUT", "in_tier", "is_patient", "timed_out", "watching")

#: What upstream says when a wait is over.
TIMED_OUT = "The operation timed out."


def timed_out(text: str = TIMED_OUT) -> BaseException:
    """Return the exception that upstream's waits end with."""
    from celery.exceptions import TimeoutError as CeleryTimeoutError

    return CeleryTimeoutError(text)


async def in_tier(
    route: Route, fn: Callable[[], Any], timeout: float | None = None
) -> Any:
    """Run sync code within the deadline of its route, or within `timeout`."""
    deadline = route.deadline
    if timeout is not None and deadline is not None:
        # Not less than a moment: a result that has arrived takes precedence.
        deadline = min(deadline, max(timeout, 1.0))
    return await perform(route, fn, deadline=deadline)


def is_patient(backend: Any) -> bool:
    """Whether a backend waits as upstream's own do, so that a poller can take over."""
    from celery.backends.asynchronous import AsyncBackendMixin
    from celery.backends.base import SyncBackendMixin

    cls = type(backend)
    if issubclass(cls, AsyncBackendMixin):
        stores = hasattr(cls, "mget") or hasattr(cls, "ResultConsumer")
        return stores and cls.wait_for_pending is AsyncBackendMixin.wait_for_pending
    return issubclass(cls, SyncBackendMixin) and (
        cls.wait_for_pending is SyncBackendMixin.wait_for_pending
        and cls.wait_for is SyncBackendMixin.wait_for
    )


class watching:
    """Deliver the metas of tasks to a `Watch` for as long as the block lasts.

    `route` is that of the backend, where the caller has it.
    """

    __slots__ = ("_feed", "_watch")

    def __init__(
        self,
        backend: Any,
        ids: Iterable[str],
        *,
        timeout: float | None = None,
        interval: float | None = 0.5,
        on_interval: Callable[[], object] | None = None,
        every: bool = False,
        route: Route | None = None,
    ) -> None:
        self._watch = Watch(
            ids,
            timeout=timeout,
            interval=interval,
            on_interval=on_interval,
            every=every,
        )
        self._feed = _feed(backend, route or backend_object_route(backend), every)

    def __enter__(self) -> Watch:
        self._feed.join(self._watch)
        return self._watch

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._feed.leave(self._watch)
        # Cancelled: what was taken may not have got anywhere, and the next who waits
        # must find it.
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            self._feed.settle(self._watch.settled)


def _feed(backend: Any, route: Route, every: bool) -> Feed:
    if is_native(route):
        if not every and is_native(route, waiting=True):
            return _DriverFeed(backend, route.endpoints[0].scheme)
        pushed = _pushed(backend, route)
        if pushed is not None:
            return pushed
    if route.pin is not None:
        poller = poller_for(("rpc", id(backend.app)), partial(_rpc_poller, backend))
        poller.source.note(backend)
        return poller
    own = _is_own(route)
    return poller_for(_key(backend, own), partial(_store_poller, backend, own))


def _pushed(backend: Any, route: Route) -> Feed | None:
    driver = driver_for(route.endpoints[0].scheme, "backend")
    if driver is None or "backend" not in driver.pushes:
        return None
    own = _is_own(route)
    key, looks = _key(backend, own), partial(_looks, backend, own)
    feed: Feed | None = driver.feed(backend, key, looks)
    return feed


def _looks(backend: Any, own: bool) -> Looks:
    source = StoreSource(backend, own=own)
    decode = source.decode if source.decodes else None
    return Looks(_fetch(backend, source), Failure, decode)


def _is_own(route: Route) -> bool:
    """Whether it is a route of the app's own backend; others name their object."""
    return route.endpoints[0].target is None


def _key(backend: Any, own: bool) -> tuple[Any, ...]:
    # By value: results that threads of the send lane have made come with as many
    # backend objects, which all look at the same place in the same way.
    if not own:
        return (id(backend),)
    prefix = getattr(backend, "task_keyprefix", None)
    return (id(backend.app), type(backend), backend.url, backend.serializer, prefix)


def _store_poller(backend: Any, own: bool) -> Poller:
    source = StoreSource(backend, own=own)
    return _poller(backend, source, steady=False)


def _rpc_poller(backend: Any) -> Poller:
    return _poller(backend, RpcSource(backend.app), steady=True)


def _poller(backend: Any, source: Any, *, steady: bool) -> Poller:
    poller = Poller(_fetch(backend, source), backend.READY_STATES, steady=steady)
    poller.source = source
    return poller


def _fetch(backend: Any, source: Any) -> Fetch:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        route = poll_route(backend)
        look = partial(source.look, ids, every)
        found: dict[str, Any] = await perform(route, look, deadline=route.deadline)
        return found

    return fetch


class _DriverFeed(Feed):
    """Metas from a native driver, which is woken instead of looking."""

    def __init__(self, backend: Any, scheme: str) -> None:
        driver = driver_for(scheme, "backend")
        assert driver is not None  # the route is native
        self._driver = driver
        self._backend = backend
        self._tasks: list[asyncio.Task[Any]] = []

    def join(self, watch: Watch) -> None:
        """Start to wait for each task."""
        for id_ in watch.ids:
            task = asyncio.ensure_future(self._driver.wait(self._backend, id_, None))
            task.add_done_callback(partial(self._deliver, watch, id_))
            self._tasks.append(task)
        # By then each has looked once.
        asyncio.get_running_loop().call_later(0.01, watch.asked)

    def leave(self, watch: Watch) -> None:
        """Cancel what still waits."""
        for task in self._tasks:
            task.cancel()

    def _deliver(self, watch: Watch, id_: str, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            error = task.exception()
            outcome = task.result() if error is None else Failure(error)
            watch.offer({id_: outcome}, self._backend.READY_STATES)
