"""Which driver serves a URL scheme."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .route import Endpoint

__all__ = (
    "GROUP",
    "Driver",
    "Looks",
    "arm",
    "driver_for",
    "forget",
    "is_armed",
    "loaded",
    "register",
    "schemes",
    "suspends",
    "why_absent",
)

GROUP = "celery_async_bridge.drivers"


class Looks(NamedTuple):
    """How a result backend is looked into, for a driver that delivers results.

    Attributes:
        fetch: looks into the store; a coroutine function.
        failure: makes what stands for a meta that could not be had.
        decode: makes metas of values that the driver has read itself; None if a look
            does more than to read values by their keys.
    """

    fetch: Any
    failure: Any
    decode: Any = None


@runtime_checkable
class Driver(Protocol):
    """What makes one URL scheme native.

    A driver runs upstream's sync code on the loop thread, in a trampoline, and replaces
    what would block beneath it. Two things wait instead of calling a client, and are
    the driver's own: `drain` and `wait`.

    It may also take messages for the hub of a worker with `-P asyncio`: then it has
    `hub_seams()`, which returns the seams for that, and `serve_hub(hub)`, which returns
    what writes the settlements of messages when the hub does not run.
    """

    name: str

    #: The sides of the scheme that are native: "broker", "backend".
    sides: frozenset[str]

    #: The sides whose waits, for messages or results, are native as well.
    waits: frozenset[str]

    #: The sides whose results are pushed to those who wait, by `feed`.
    pushes: frozenset[str]

    #: Whether a call may be suspended half-way: then objects of Kombu, which are not
    #: re-entrant, are used by one call at a time. A driver of which that depends on the
    #: server has a method `suspends_at(endpoint)`, too, which decides.
    suspends: bool

    def takes(self, endpoint: Endpoint) -> bool:
        """Whether calls on the endpoint's object, if any, can run on the loop."""

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event on a Kombu connection.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        """Return the meta of a task once its state is ready.

        Raises:
            TimeoutError: it was not ready within `timeout` seconds.
        """

    def feed(self, backend: Any, key: Any, looks: Callable[[], Looks]) -> Any:
        """Return what delivers results of a backend on this loop, or None.

        Arguments:
            backend: the result backend.
            key: identifies it, by value.
            looks: says how the backend is looked into.
        """

    def status(self) -> list[dict[str, Any]]:
        """Return the state of each connection, without passwords, for `explain()`."""

    def install(self) -> Any:
        """Return the seams that the driver needs, or an empty tuple."""


_drivers: dict[str, Driver] = {}
#: Entry points that nobody has needed yet, by scheme.
_points: dict[str, EntryPoint] = {}
_absent: dict[str, str] = {}
_listed = False
_armed = False
_placed: Callable[[Driver], None] | None = None
_lock = threading.RLock()


def arm(seams: bool, placed: Callable[[Driver], None] | None = None) -> None:
    """Say whether the seams are in place: without them a trampoline would block.

    Arguments:
        seams: whether they are.
        placed: puts the seams of a driver in place that is loaded from now on.
    """
    global _armed, _placed
    _armed, _placed = seams, placed


def is_armed() -> bool:
    """Whether native calls may run."""
    return _armed


def register(scheme: str, driver: Driver) -> None:
    """Make `driver` serve `scheme`; the last registration wins."""
    with _lock:
        _list()
        _points.pop(scheme, None)
        _drivers[scheme] = driver


def forget(scheme: str) -> None:
    """Undo `register`, and what an entry point says of the scheme."""
    with _lock:
        _list()
        _points.pop(scheme, None)
        _drivers.pop(scheme, None)


def _list() -> None:
    """Read the names of the entry points; a driver is imported when it is needed."""
    global _listed
    with _lock:
        if not _listed:
            for point in entry_points(group=GROUP):
                if point.name not in _drivers:
                    _points.setdefault(point.name, point)
            _listed = True


def _load(scheme: str) -> Driver | None:
    with _lock:
        point = _points.get(scheme)
        if point is None:
            return _drivers.get(scheme)
        kin = [name for name, one in _points.items() if one.value == point.value]
        try:
            driver: Driver = point.load()()
            if _placed is not None:
                _placed(driver)
        except ImportError as exc:
            # The client is an extra that is not installed: no fault of anybody.
            _absent.update(dict.fromkeys(kin, str(exc)))
            return None
        except Exception as exc:
            # A package that is broken must not take the whole bridge with it.
            warnings.warn(
                f"the driver {point.value} for {scheme}:// is not usable, so its calls "
                f"run in threads: {type(exc).__name__}: {exc}",
                RuntimeWarning,
                stacklevel=4,
            )
            return None
        else:
            # Aliases of one class share one driver.
            _drivers.update(dict.fromkeys(kin, driver))
            return driver
        finally:
            # Last: who asks without the lock must find the point or the driver.
            for name in kin:
                _points.pop(name, None)


def driver_for(scheme: str, side: str) -> Driver | None:
    """Return the native driver of a scheme's side, or None: the thread tier."""
    driver = _drivers.get(scheme)
    if driver is None:
        if not _listed:
            _list()
        if scheme not in _points:
            return None
        driver = _load(scheme)
    return driver if driver is not None and side in driver.sides else None


def suspends(endpoint: Endpoint, driver: Driver | None = None) -> bool:
    """Whether a call on an endpoint may be suspended half-way.

    Arguments:
        endpoint: the server.
        driver: the one that serves it; looked up by default.
    """
    driver = driver or driver_for(endpoint.scheme, endpoint.side)
    if driver is None:
        return False
    asked = getattr(driver, "suspends_at", None)
    return driver.suspends if asked is None else bool(asked(endpoint))


def why_absent(scheme: str) -> str:
    """Return why the driver of a scheme could not be imported, or an empty string."""
    return _absent.get(scheme, "")


def loaded() -> list[Driver]:
    """Return the drivers that somebody has needed."""
    with _lock:
        return list({id(driver): driver for driver in _drivers.values()}.values())


def schemes() -> dict[str, Driver]:
    """Return all schemes and load what serves them."""
    _list()
    for scheme in list(_points):
        _load(scheme)
    with _lock:
        return dict(_drivers)
