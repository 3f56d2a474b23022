"""`AsyncResult`, `ResultSet`, `GroupResult`, and round trips with Celery's tracer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..app_stage import IDS
from ..case import Case
from ..script import Script, aside, call, each, read

__all__ = ("RESULTS",)

#: State of the result -> what is stored.
STORED: Mapping[str, tuple[Any, str]] = {
    "success": ({"a": [1, None]}, "SUCCESS"),
    "failure": (ValueError("no"), "FAILURE"),
    "started": ({"pid": 1}, "STARTED"),
    "custom": ({"done": 3}, "PROGRESS"),
}

METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("get", {"timeout": 0.2}),
    ("ready", {}),
    ("successful", {}),
    ("failed", {}),
    ("maybe_throw", {}),
    ("exists", {}),
    ("forget", {}),
)

PROPERTIES = (
    "state",
    "status",
    "result",
    "info",
    "traceback",
    "children",
    "date_done",
    "name",
    "args",
    "retries",
    "worker",
    "queue",
)


def _method(stage: Any, *, stored: str, name: str, kwargs: dict[str, Any]) -> Script:
    if stored in STORED:
        yield aside(stage.store, IDS[0], *STORED[stored])
    yield call(stage.app.AsyncResult(IDS[0]), name, **kwargs)


def _properties(stage: Any, *, stored: str) -> Script:
    if stored in STORED:
        yield aside(stage.store, IDS[0], *STORED[stored])
    for name in PROPERTIES:
        yield read(stage.app.AsyncResult(IDS[0]), name)


def _cached(stage: Any) -> Script:
    yield aside(stage.store, IDS[0], 5)
    result = stage.app.AsyncResult(IDS[0])
    yield call(result, "get", timeout=1)
    yield call(result, "forget")
    yield call(result, "get", timeout=0.1)


def _set(stage: Any, *, name: str, kwargs: dict[str, Any], failing: bool) -> Script:
    for n in range(3):
        yield aside(stage.store, IDS[n], n)
    if failing:
        yield aside(stage.store, IDS[1], *STORED["failure"])
    results = stage.app.GroupResult(
        IDS[8], [stage.app.AsyncResult(IDS[n]) for n in range(3)]
    )
    yield call(results, name, **kwargs)


def _saved(stage: Any) -> Script:
    from celery.result import GroupResult

    results = stage.app.GroupResult(
        IDS[8], [stage.app.AsyncResult(IDS[n]) for n in range(2)]
    )
    yield call(results, "save")
    yield call(GroupResult, "restore", IDS[8], app=stage.app)
    yield call(results, "delete")
    yield call(GroupResult, "restore", IDS[8], app=stage.app)


def _iter_native(stage: Any) -> Script:
    for n in range(2):
        yield aside(stage.store, IDS[n], n)
    results = stage.app.ResultSet([stage.app.AsyncResult(IDS[n]) for n in range(2)])
    yield each(results, "iter_native", timeout=20)


def _collected(stage: Any) -> Script:
    yield aside(stage.store, IDS[0], 5)
    yield each(stage.app.AsyncResult(IDS[0]), "collect", timeout=20)


def _round_trip(stage: Any, *, task: str, args: tuple[Any, ...]) -> Script:
    result = yield call(stage.tasks[task], "apply_async", args)
    yield aside(stage.work)
    yield call(result, "get", timeout=5)
    yield read(result, "state")
    yield call(result, "forget")


def _chain(stage: Any) -> Script:
    from celery import chain

    add = stage.tasks["add"]
    result = yield call(chain(add.s(1, 2), add.s(3), add.s(4)), "apply_async")
    yield aside(stage.work)
    yield call(result, "get", timeout=5)
    yield call(result.parent, "get", timeout=5)


def _group(stage: Any, *, method: str) -> Script:
    from celery import group

    add = stage.tasks["add"]
    results = yield call(group(add.s(n, n) for n in range(3)), "apply_async")
    yield aside(stage.work)
    yield call(results, method, timeout=5)
    yield call(results, "ready")
    yield call(results, "completed_count")


def _chord(stage: Any) -> Script:
    from celery import chord

    add, total = stage.tasks["add"], stage.tasks["total"]
    header = [add.s(n, n) for n in range(3)]
    result = yield call(chord(header, total.s()), "apply_async")
    yield aside(stage.work)
    yield call(result, "get", timeout=5)


def _revoked(stage: Any) -> Script:
    yield aside(stage.hear_control)
    yield call(stage.app.AsyncResult(IDS[0]), "revoke")


SET_METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("get", {"timeout": 20}),
    ("join", {"timeout": 20}),
    ("join", {"timeout": 20, "propagate": False}),
    ("join_native", {"timeout": 20}),
    ("ready", {}),
    ("successful", {}),
    ("failed", {}),
    ("waiting", {}),
    ("completed_count", {}),
    ("maybe_throw", {}),
    ("forget", {}),
)


def _label(kwargs: Mapping[str, Any]) -> str:
    return "".join(f"-{key}" for key in kwargs if key != "timeout")


NEEDS = ("results",)
ORDERED = ("round_trips", "order")

RESULTS: tuple[Case, ...] = (
    *(
        Case(
            f"{name}{_label(kwargs)}-{stored}",
            partial(_method, stored=stored, name=name, kwargs=kwargs),
            NEEDS,
        )
        for stored in (*STORED, "pending")
        for name, kwargs in METHODS
    ),
    *(
        Case(f"properties-{stored}", partial(_properties, stored=stored), NEEDS)
        for stored in (*STORED, "pending")
    ),
    *(
        Case(
            f"set-{name}{_label(kwargs)}{'-failing' * failing}",
            partial(_set, name=name, kwargs=kwargs, failing=failing),
            NEEDS,
        )
        for failing in (False, True)
        for name, kwargs in SET_METHODS
    ),
    *(
        Case(
            f"get-no_propagation-{stored}",
            partial(
                _method,
                stored=stored,
                name="get",
                kwargs={"timeout": 20, "propagate": False},
            ),
            NEEDS,
        )
        for stored in ("success", "failure")
    ),
    Case("cached", _cached, (*NEEDS, "forget")),
    Case("group-saved", _saved, ("results", "groups")),
    Case("iter_native", _iter_native, NEEDS),
    Case("collect", _collected, NEEDS),
    Case("revoke", _revoked, ("remote_control",)),
    Case("round-trip", partial(_round_trip, task="add", args=(2, 3)), ("round_trips",)),
    Case(
        "round-trip-failing",
        partial(_round_trip, task="fail", args=("boo",)),
        ("round_trips",),
    ),
    Case("round-trip-chain", _chain, ("round_trips",)),
    Case("round-trip-group-join", partial(_group, method="join"), ORDERED),
    Case("round-trip-group-get", partial(_group, method="get"), ORDERED),
    Case("round-trip-chord", _chord, (*ORDERED, "chords")),
)
