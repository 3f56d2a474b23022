"""The methods of a result backend."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..app_stage import IDS
from ..case import Case
from ..script import Script, aside, call, each

__all__ = ("BACKENDS",)

Steps = tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]


def _step(name: str, *args: Any, **kwargs: Any) -> Any:
    return (name, args, kwargs)


ID = IDS[0]
STORE = _step("store_result", ID, {"a": 1}, "SUCCESS")
META = _step("get_task_meta", ID)

STEPS: Mapping[str, Steps] = {
    "store_result": (STORE, META),
    "store_result-failure": (_step("store_result", ID, ValueError("no"), "FAILURE"),),
    "store_result-unserialisable": (_step("store_result", ID, object(), "SUCCESS"),),
    "store_result-twice": (STORE, _step("store_result", ID, 2, "STARTED"), META),
    "get_task_meta": (META,),
    "get_task_meta-cached": (
        STORE,
        META,
        META,
        _step("get_task_meta", ID, cache=False),
    ),
    "get_state": (_step("get_state", ID), STORE, _step("get_state", ID)),
    "get_result": (STORE, _step("get_result", ID)),
    "get_traceback": (STORE, _step("get_traceback", ID)),
    "get_children": (STORE, _step("get_children", ID)),
    "task_result_exists": (
        _step("task_result_exists", ID),
        STORE,
        _step("task_result_exists", ID),
    ),
    "reload_task_result": (STORE, _step("reload_task_result", ID)),
    "forget": (STORE, _step("forget", ID), META),
    "mark_as_started": (_step("mark_as_started", ID, pid=1), META),
    "mark_as_done": (_step("mark_as_done", ID, 7), META),
    "mark_as_failure": (_step("mark_as_failure", ID, ValueError("no")), META),
    "mark_as_revoked": (_step("mark_as_revoked", ID, "why"), META),
    "mark_as_retry": (_step("mark_as_retry", ID, ValueError("again")), META),
    "wait_for": (STORE, _step("wait_for", ID, timeout=1)),
    "wait_for-nothing": (_step("wait_for", ID, timeout=0.1, interval=0.05),),
    "add_to_chord": (_step("add_to_chord", ID, 1),),
    "set_chord_size": (_step("set_chord_size", ID, 3),),
    "cleanup": (_step("cleanup"),),
    "process_cleanup": (_step("process_cleanup"),),
}

KEY = "{run}.key"
KEYS: Mapping[str, Steps] = {
    "set": (_step("set", KEY, b"value"), _step("get", KEY)),
    "get": (_step("get", KEY),),
    "delete": (_step("set", KEY, b"value"), _step("delete", KEY), _step("get", KEY)),
    "expire": (_step("set", KEY, b"value"), _step("expire", KEY, 100)),
    "incr": (_step("incr", KEY), _step("incr", KEY)),
}
KEY_NEEDS: Mapping[str, tuple[str, ...]] = {"expire": ("expire",), "incr": ("incr",)}


def _calls(stage: Any, *, steps: Steps) -> Script:
    backend = stage.app.backend
    for name, args, kwargs in steps:
        named = [
            arg.replace("{run}", stage.run) if isinstance(arg, str) else arg
            for arg in args
        ]
        yield call(backend, name, *named, **kwargs)


class _Listing:
    """`mget` gives a list, or a generator that does the I/O: read it in one step."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def mget(self, keys: Any) -> Any:
        return list(self.backend.mget(keys))

    async def amget(self, keys: Any) -> Any:
        values = await self.backend.amget(keys)
        return list(values)


def _mget(stage: Any) -> Script:
    backend = stage.app.backend
    keys = [f"{stage.run}.{n}" for n in range(3)]
    for key in keys[:2]:
        yield call(backend, "set", key, key.encode())
    yield call(_Listing(backend), "mget", keys)


def _get_many(stage: Any) -> Script:
    for n in range(3):
        yield aside(stage.store, IDS[n], n)
    yield each(stage.app.backend, "get_many", list(IDS[:3]), timeout=2)


def _group(stage: Any) -> Script:
    backend = stage.app.backend
    results = stage.app.GroupResult(
        IDS[8], [stage.app.AsyncResult(IDS[n]) for n in range(2)]
    )
    yield call(backend, "save_group", IDS[8], results)
    yield call(backend, "restore_group", IDS[8])
    yield call(backend, "get_group_meta", IDS[8])
    yield call(backend, "reload_group_result", IDS[8])
    yield call(backend, "delete_group", IDS[8])
    yield call(backend, "restore_group", IDS[8], cache=False)


def _apply_chord(stage: Any) -> Script:
    total = stage.tasks["total"]
    header = stage.app.GroupResult(
        IDS[8], [stage.app.AsyncResult(IDS[n]) for n in range(2)]
    )
    yield call(stage.app.backend, "apply_chord", (IDS[8], header.results), total.s())


BACKENDS: tuple[Case, ...] = (
    *(Case(name, partial(_calls, steps=steps)) for name, steps in STEPS.items()),
    *(
        Case(
            f"key-{name}",
            partial(_calls, steps=steps),
            ("keys", *KEY_NEEDS.get(name, ())),
        )
        for name, steps in KEYS.items()
    ),
    Case("key-mget", _mget, ("keys",)),
    Case("get_many", _get_many, ("keys", "results")),
    Case("group", _group),
    Case("apply_chord", _apply_chord),
)
