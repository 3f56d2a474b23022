"""Say for every twin how it runs, and why: natively, in a thread, or by upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.route import Endpoint

__all__ = ("Report", "Row", "explain")

# Twins that run what the user wrote.
_USER_CODE = frozenset(
    f"celery.app.task.Task.{name}"
    for name in (
        "aafter_return",
        "abefore_start",
        "aon_failure",
        "aon_retry",
        "aon_success",
        "arun",
    )
)
_DISTRIBUTIONS = (
    "celery-async-bridge",
    "celery",
    "kombu",
    "redis",
    "amqp",
    "asgiref",
    "greenlet",
)


@dataclass(frozen=True, slots=True)
class Row:
    """How one twin runs now.

    Attributes:
        cls: the class or module that has it.
        method: its name.
        tier: "native" (on the loop), "thread", "inline" (no server is involved),
            "upstream" (the installed release has the method itself) or
            "not installed".
        driver: the native driver; "" without one.
        reason: why this tier.
    """

    cls: str
    method: str
    tier: str
    driver: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `explain()` found; iterating gives the rows, `str()` a table.

    Attributes:
        installed: whether `install()` is in effect.
        broker: the broker's URL, without passwords.
        backend: the result backend's URL, without passwords.
        rows: one for each twin.
        seams: upstream attributes that behave differently, and when.
        lanes: the thread pools of this process, one for each server and use.
        connections: the native connections of this process, one for each loop and
            server.
        plans: how far the sends of each task are compiled, for each set of options.
        tasks: tasks whose body is a coroutine function.
        versions: of everything involved.
    """

    installed: bool
    broker: str
    backend: str
    rows: list[Row] = field(default_factory=list)
    seams: list[dict[str, str]] = field(default_factory=list)
    lanes: list[dict[str, str | int]] = field(default_factory=list)
    connections: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, str]] = field(default_factory=list)
    tasks: list[dict[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in a form that `json.dumps` takes."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            "  ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"broker   {self.broker or '-'}\nbackend  {self.backend or '-'}",
            _table(Row.__slots__, [tuple(asdict(row).values()) for row in self.rows]),
        ]
        for title, rows in (
            ("seams", self.seams),
            ("threads", self.lanes),
            ("connections", self.connections),
            ("plans", self.plans),
            ("async tasks", self.tasks),
        ):
            if rows:
                cells = [tuple(map(str, row.values())) for row in rows]
                parts.append(f"{title}\n{_table(tuple(rows[0]), cells)}")
        return "\n\n".join(parts)


def explain(app: Any = None) -> Report:
    """Report for every twin of celery and kombu how a call would run.

    Nothing is connected, and no password is shown.

    Arguments:
        app: the Celery app whose broker and result backend decide; the current app
            by default.
    """
    from .install import journal

    if app is None:
        from celery import current_app

        app = current_app
    servers = _servers(app)
    return Report(
        installed=journal() is not None,
        broker=_label(servers["broker"]),
        backend=_label(servers["backend"]),
        rows=_rows(servers),
        seams=_seams(),
        lanes=_lanes(),
        connections=_connections(),
        plans=_plans(app),
        tasks=_async_tasks(app),
        versions=_versions(),
    )


def _servers(app: Any) -> dict[str, Endpoint | None]:
    from .mixins.celery._route import backend_endpoint, broker_endpoint

    return {
        "broker": _readable("broker", broker_endpoint, app),
        "backend": _readable("backend", backend_endpoint, app),
    }


def _readable(side: str, find: Callable[[Any], Endpoint | None], app: Any) -> Any:
    from .core.route import Endpoint

    try:
        return find(app)
    except Exception as exc:
        # Of the exception the type alone: its text quotes the URL.
        what = type(exc).__name__
        return Endpoint(side, "unreadable", what, f"an unreadable setting ({what})")


def _label(endpoint: Endpoint | None) -> str:
    return "" if endpoint is None else endpoint.label


def _rows(servers: dict[str, Endpoint | None]) -> list[Row]:
    from .core.graft import offered
    from .install import enabled, is_public, journal, planned, targets

    current = journal()
    everything = list(targets())  # imports, and so grafts, what has waited for that
    grafts = planned() if current is None else current.grafts
    ours = {(graft.path, graft.name) for graft in grafts}
    off = "install() was not called" if enabled() else "CELERY_ASYNC_BRIDGE=0 is set"
    rows = []
    for target in everything:
        for name, value in offered(target.source).items():
            if not is_public(name):
                continue
            if _is_patched_in(target.owner, name, value):
                tier = "thread", "", f"patched in, and {off}"
                if current is not None:
                    tier = _tier(f"{target.path}.{name}", value, servers)
                rows.append(Row(target.path, name, *tier))
            elif (target.path, name) not in ours:
                if _upstream_has(target.owner, name):
                    why = "this release defines it"
                    rows.append(Row(target.path, name, "upstream", "", why))
            elif current is None:
                rows.append(Row(target.path, name, "not installed", "", off))
            else:
                tier = _tier(f"{target.path}.{name}", value, servers)
                rows.append(Row(target.path, name, *tier))
    return sorted(rows, key=lambda row: (row.cls, row.method))


def _is_patched_in(owner: Any, name: str, twin: Any) -> bool:
    """Whether upstream's own file has taken over a twin of ours."""
    found = vars(owner).get(name)
    # A class method of a mixin is wrapped again for another class.
    return getattr(found, "__func__", found) is getattr(twin, "__func__", twin)


def _upstream_has(owner: Any, name: str) -> bool:
    holders = getattr(owner, "__mro__", (owner,))
    return any(name in vars(holder) for holder in holders)


def _tier(
    path: str, twin: Any, servers: dict[str, Endpoint | None]
) -> tuple[str, str, str]:
    """Return the tier, the driver and the reason of a twin."""
    from .core.registry import driver_for, why_absent
    from .mixins._sides import LOCAL_ROUTES, pushed_of, route_of, sides_of, waits_of

    if path in _USER_CODE:
        return "thread", "", "user code: awaited if it is a coroutine function"
    local = LOCAL_ROUTES.get(route_of(twin))
    if local is not None:
        return "thread", "", local
    sides = sides_of(path, twin)
    if not sides:
        return "inline", "", "no server is involved"
    native, missing = [], []
    waits, pushed = waits_of(path, twin), pushed_of(path)
    for side in sides:
        endpoint = servers[side]
        if endpoint is None:
            if len(sides) == 1:
                missing.append(f"no {side} is configured")
            continue
        driver = driver_for(endpoint.scheme, side)
        if driver is None:
            lacking = why_absent(endpoint.scheme)
            missing.append(
                f"no native driver for {_scheme(endpoint)} ({side})"
                + (f": {lacking}" if lacking else "")
            )
        elif waits and side not in driver.waits | (driver.pushes if pushed else set()):
            missing.append(f"the {driver.name} driver waits in threads ({side})")
        elif driver.name not in native:
            native.append(driver.name)
    if missing:
        return "thread", "", "; ".join(missing)
    return "native", "+".join(native), "runs on the event loop"


def _scheme(endpoint: Endpoint) -> str:
    # A setting that is no URL ends up here as a whole.
    plain = endpoint.scheme.replace("+", "").replace(".", "").replace(":", "")
    return endpoint.scheme if plain.isidentifier() else "a custom one"


def _seams() -> list[dict[str, str]]:
    from .install import journal
    from .seams import seams

    current = journal()
    return [
        {"attribute": str(seam), "scope": seam.scope, "reason": seam.reason}
        for seam in (seams() if current is None else current.seams)
    ]


def _lanes() -> list[dict[str, str | int]]:
    from .core.lane import lanes

    return [{"lane": lane.name, **lane.status()} for lane in lanes().values()]


def _connections() -> list[dict[str, Any]]:
    from .core.registry import loaded

    return [
        {"driver": driver.name, **row} for driver in loaded() for row in driver.status()
    ]


def _plans(app: Any) -> list[dict[str, str]]:
    from .plan.plan import states

    return [
        {"task": name, **row}
        for name, task in sorted(app.tasks.items())
        for row in states(task)
    ]


def _async_tasks(app: Any) -> list[dict[str, str]]:
    found = []
    for name, task in sorted(app.tasks.items()):
        for method in ("arun", "run"):
            if _is_async_override(type(task), method):
                found.append({"task": name, "body": method})
                break
    return found


def _is_async_override(cls: type, method: str) -> bool:
    from inspect import iscoroutinefunction, unwrap

    for holder in cls.__mro__:
        if method in vars(holder):
            fn = vars(holder)[method]
            fn = unwrap(getattr(fn, "__func__", fn))
            ours = getattr(fn, "__module__", "").startswith(f"{__package__}.")
            return iscoroutinefunction(fn) and not ours
    return False


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )
