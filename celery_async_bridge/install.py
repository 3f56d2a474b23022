"""Graft the twins onto the installed celery and kombu, and take them off again.

The package imports this module at once, so that the name `install` is always the
function and never the submodule; what costs time is imported by the functions.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.graft import Graft, Journal, Seam, Target
    from .core.late import Watch
    from .core.registry import Driver

__all__ = (
    "DISABLE",
    "enabled",
    "install",
    "is_public",
    "journal",
    "planned",
    "sew",
    "targets",
    "uninstall",
)

#: The environment variable that switches the bridge off when it is "0".
DISABLE = "CELERY_ASYNC_BRIDGE"

_TABLES = (
    "celery_async_bridge.mixins.kombu._targets",
    "celery_async_bridge.mixins.celery._targets",
)
_BODIES = "celery_async_bridge.mixins.celery.app._body"
_STOCK = "celery_async_bridge.mixins.celery.app._stock"

#: Kombu's names for transports of ours.
_TRANSPORTS = {"embedded": "celery_async_bridge.drivers.embedded.transport:Transport"}

_lock = threading.RLock()
_journal: Journal | None = None
_watch: Watch | None = None


def _after_fork() -> None:
    # Another thread of the parent may have held the lock at the fork.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def enabled() -> bool:
    """Whether the environment lets the bridge do anything."""
    return os.environ.get(DISABLE, "").strip() != "0"


def install(app: Any = None) -> list[str]:
    """Give the classes of celery and kombu their awaitable twins.

    It adds names which no class has and replaces none, the listed seams aside, so it
    may run before or after apps, tasks and tracers are made. A second call changes
    nothing. It does nothing at all while `CELERY_ASYNC_BRIDGE=0` is set.

    Arguments:
        app: accepted for symmetry with `explain(app)`; the classes are shared by all
            apps.

    Returns:
        the dotted names that were added; empty on an upstream that has them all.

    Raises:
        Exception: something could not be added; then nothing was.
    """
    global _journal, _watch
    if not enabled():
        return []
    with _lock:
        if _journal is None:
            from .core.graft import apply
            from .core.late import Watch
            from .core.registry import arm
            from .seams import seams

            late = _awaited()
            _journal = apply(_plan(targets(without=late)), seams())
            _watch = Watch(late, _graft_late)
            _watch.start()
            # Some have been imported meanwhile, by what was not late.
            for module in late & sys.modules.keys():
                _graft_late(module)
            arm(True, _place)
            import_module(_STOCK).watch_workers()
            _name_transports()
        return [str(one) for one in _journal.grafts if is_public(one.name)]


def uninstall() -> None:
    """Take everything back that `install()` did; harmless when it did nothing."""
    global _journal, _watch
    with _lock:
        if _journal is None:
            return
        if _watch is not None:
            _watch.stop()
            _watch = None
        from .core.registry import arm

        arm(False)
        import_module(_STOCK).ignore_workers()
        bodies = sys.modules.get(_BODIES)
        if bodies is not None:
            bodies.restore_bodies()
        _unname_transports()
        _journal.revert()
        _journal = None


def _name_transports() -> None:
    from kombu import transport

    for name, path in _TRANSPORTS.items():
        transport.TRANSPORT_ALIASES.setdefault(name, path)


def _unname_transports() -> None:
    from kombu import transport

    cache: dict[Any, Any] = vars(transport)["_transport_cache"]
    for name, path in _TRANSPORTS.items():
        if transport.TRANSPORT_ALIASES.get(name) == path:
            del transport.TRANSPORT_ALIASES[name]
            cache.pop(name, None)


def journal() -> Journal | None:
    """Return what `install()` changed, or None when it is not in effect."""
    return _journal


def planned() -> list[Graft]:
    """List what `install()` adds to this upstream, now or when it is imported.

    A twin whose sync method an older release does not have is left out.
    """
    return _plan(targets())


def _plan(
    found: Iterable[Target], known: Collection[tuple[Any, str]] = ()
) -> list[Graft]:
    from .core.graft import plan

    return [one for one in plan(found, known) if _has_sync(one)]


def _place(driver: Driver) -> None:
    """Put the seams of a driver in place that has just been loaded."""
    with _lock:
        if _journal is not None:
            _journal.extend((), driver.install())


def sew(rows: Iterable[Seam]) -> None:
    """Put seams in place whose module was not imported when `install()` ran."""
    with _lock:
        if _journal is not None:
            known = {(one.owner, one.name) for one in _journal.seams}
            _journal.extend(
                (), [one for one in rows if (one.owner, one.name) not in known]
            )


def _graft_late(module: str) -> None:
    """Add the names of a module that has just been imported."""
    with _lock:
        if _journal is None:
            return
        known = {(one.owner, one.name) for one in _journal.grafts}
        rest = targets(without=_awaited())
        mine = [one for one in rest if one.path.startswith(f"{module}.")]
        _journal.extend(_plan(mine, known))


def _rows() -> Iterator[tuple[str, str, list[str]]]:
    for table in _TABLES:
        for owner_path, source_path, *needs in import_module(table).TARGETS:
            if all(map(_is_importable, needs)):
                yield owner_path, source_path, needs


def _awaited() -> set[str]:
    """Name the modules whose twins wait until somebody imports them.

    What needs another package is not imported on suspicion: it takes time, and code
    that replaces something before that import would come too late.
    """
    modules = {path.partition(":")[0] for path, _, needs in _rows() if needs}
    return {name for name in modules if name not in sys.modules}


def targets(*, without: Collection[str] = ()) -> Iterator[Target]:
    """Resolve the tables of the mixins against the installed upstream.

    A class that an older release does not have, or that needs a package which is not
    there, is left out.

    Arguments:
        without: modules to leave out, and not to import.
    """
    from .core.graft import Target

    for owner_path, source_path, _ in _rows():
        if owner_path.partition(":")[0] not in without:
            owner = _upstream(owner_path)
            if owner is not None:
                yield Target(owner, _resolve(source_path))


def _is_importable(name: str) -> bool:
    from importlib.util import find_spec

    # Kombu and Celery put objects without a spec into `sys.modules`, which
    # `find_spec` refuses.
    return name in sys.modules or find_spec(name) is not None


def _resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found


def _upstream(path: str) -> Any:
    module = path.partition(":")[0]
    try:
        return _resolve(path)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
    except AttributeError:
        pass
    return None


def _has_sync(one: Graft) -> bool:
    from .mixins._twin import kind_of

    mark = kind_of(one.value)
    if mark is None:
        return True
    holders = getattr(one.owner, "__mro__", (one.owner,))
    return any(mark.of in vars(holder) for holder in holders)


def is_public(name: str) -> bool:
    """Whether a name is part of what users call."""
    return not name.startswith("_") or name.startswith("__")
