"""Sends that look like those that a plan was learned from, and are not quite."""

from __future__ import annotations

import enum
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu import Exchange, Queue

from celery_async_bridge.testing.contract.app_stage import IDS
from celery_async_bridge.testing.contract.case import Case, case_table
from celery_async_bridge.testing.contract.script import call
from tests.integration.tier_stage import REPEATS, given

if TYPE_CHECKING:
    from celery_async_bridge.testing.contract.script import Script

__all__ = ("VARIANTS",)

FAR = datetime(2099, 1, 1, tzinfo=timezone.utc)


class _Colour(enum.IntEnum):
    RED = 1


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "<text>"


class _Whole(int):
    def __repr__(self) -> str:
        return "<whole>"


class _Jsonable:
    def __json__(self) -> Any:
        return {"json": True}

    def __repr__(self) -> str:
        return "<jsonable>"


class _Unprintable:
    def __json__(self) -> Any:
        return 1

    def __repr__(self) -> str:
        raise ValueError("no text")


_Pair = namedtuple("_Pair", "a b")


def _deep(levels: int) -> Any:
    value: Any = "end"
    for n in range(levels):
        value = {"n": n, "in": [value]}
    return value


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


#: Name -> arguments that JSON, the reprs in the headers, or a template may trip over.
ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "text": ("", "\x00\x1f", "\u2028\u2029", "\U0001f600", '"\\/', "%s {0} {x}", "'\""),
    "surrogate": ("\ud800",),
    "numbers": (0, -1, 2**70, 1.5, -0.0, 1e300, True, None),
    "odd_numbers": (float("nan"), float("inf")),
    "subclasses": (_Text("x"), _Whole(3), _Colour.RED, _Pair(1, 2)),
    "mappings": ({}, {1: 2}, OrderedDict(a=1), {"a": {"b": ()}}, {None: 1}),
    "extended": (
        Decimal("1.10"),
        uuid.UUID(IDS[1]),
        FAR,
        FAR.date(),
        FAR.timetz(),
        timedelta(1),
    ),
    "binary": (b"\x00\xff", bytearray(b"x")),
    "sets": ({1},),
    "jsonable": (_Jsonable(),),
    "unprintable": (_Unprintable(),),
    "object": (object(),),
    "cycle": (_cycle(),),
    "long": ("x" * 5000, list(range(2000)), {str(n): n for n in range(500)}),
    "deep": (_deep(3), _deep(12)),
    "looks_like_an_id": (IDS[0], "\x1e\x1f", "<id>", "null", "{}"),
}

#: Option -> values, one after the other.
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "countdown": (5, 7.5, 0, -3, "9", timedelta(1)),
    "eta": (FAR, FAR.replace(tzinfo=None), FAR.isoformat(), FAR.date(), 5),
    "expires": (60, 0.5, -1, FAR, FAR.isoformat(), "soon", timedelta(5), 0),
    "priority": (3, 0, 9, 300, -1, "5", 2.5, True),
    "queue": (
        lambda stage: stage.name("a"),
        lambda stage: stage.name("b"),
        lambda stage: f"{stage.run}.loudq",
        lambda stage: f"{stage.run}.short",
        lambda stage: Queue(stage.name("c"), Exchange(stage.name("c"))),
        "",
    ),
    "routing_key": ("a", "b.c", "", None),
    "exchange": (lambda stage: f"{stage.run}.direct", lambda stage: "", None),
    "headers": ({"a": 1}, {"a": "two", "b": None}, {}, {"id": "mine"}, {"x": object()}),
    "task_id": (IDS[1], 'a"b', "\u00e9", "", "x" * 300),
    "link": (
        lambda stage: stage.tasks["add"].s(1),
        lambda stage: [stage.tasks["add"].s(1), stage.tasks["add"].s(2)],
        lambda stage: stage.tasks["add"].s(1).set(priority=4),
        [],
    ),
    "shadow": ("a", 'b"', "", 5),
    "serializer": ("json", "pickle", "json", "nope"),
    "compression": ("zlib", None, "nope"),
    "ignore_result": (True, False, None),
    "time_limit": (5, None, 0, 1.5, "x"),
    "retry": (True, False, None),
    "retry_policy": ({"max_retries": 1}, {}, None),
    "reply_to": (IDS[4], None, ""),
    "delivery_mode": (1, 2, "transient"),
    "root_id": (IDS[2], None),
    "group_id": (IDS[2], None),
    "stamped_headers": ([], ["x"], None),
    "argsrepr": ("(hidden)", "", 'with "quotes"'),
    "timeout": (3, None),
    "connection": (None,),
    "add_to_parent": (False, True),
    "kwargs": ({"y": 1}, {}, None, {"y": "\u00e9"}, {"nope": 1}),
}


def _any(*args: Any, **kwargs: Any) -> None:
    return None


def _arguments(stage: Any, *, values: tuple[Any, ...]) -> Script:
    untyped = stage.app.task(_any, shared=False, name="contract.any")
    for n in range(REPEATS):
        yield call(untyped, "delay", n)
        yield call(untyped, "delay", n, y=n)
        yield call(stage.app, "send_task", "contract.any", (n,), {"y": n})
    for value in values:
        yield from _tries(
            call(untyped, "delay", value),
            call(untyped, "delay", 1, y=value),
            call(stage.app, "send_task", "contract.any", (value,), {"y": value}),
        )


def _tries(*steps: Any) -> Script:
    for step in steps:
        try:
            yield step
        except Exception as exc:  # noted; the next one is sent all the same
            del exc


def _options(stage: Any, *, name: str, values: tuple[Any, ...]) -> Script:
    for value in (*[values[0]] * REPEATS, *values):
        options = given(stage, {name: value})
        yield from _tries(
            call(stage.tasks["add"], "apply_async", (1, 2), **options)
            if name != "kwargs"
            else call(stage.tasks["add"], "apply_async", (1,), **options),
            call(stage.app, "send_task", "contract.add", (1, 2), **options),
        )


#: An id that the backend refuses: the sync method raises before it sends.
ODD_IDS = (IDS[1], 7, b"bytes")

#: Name -> arguments that do not fit, or in an unusual form.
CALLS: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "none": ((), {}),
    "args_none": ((None,), {}),
    "text_args": (("ab",), {}),
    "range_args": ((range(2),), {}),
    "dict_args": (({1: 2, 3: 4},), {}),
    "kwargs_list": (((1,), [("y", 2)]), {}),
    "too_many": (((1, 2, 3),), {}),
    "positional": (((1,), {"y": 2}, IDS[0]), {}),
    "args_int": ((5,), {}),
    "number_keys": (((1,), {1: 2}), {}),
}


def _calls(stage: Any, *, args: tuple[Any, ...], kwargs: Any) -> Script:
    add = stage.tasks["add"]
    for n in range(REPEATS):
        yield call(add, "apply_async", (n, 1))
        yield call(add, "apply_async", (n,), {"y": 1})
    for _ in range(REPEATS):
        yield from _tries(
            call(add, "apply_async", *args, **kwargs),
            call(add.s(), "apply_async", *args[:2], **kwargs),
            call(stage.app, "send_task", "contract.add", *args[:2], **kwargs),
        )


VARIANTS: tuple[Case, ...] = case_table(
    {
        f"arguments-{name}": partial(_arguments, values=values)
        for name, values in ARGUMENTS.items()
    },
    {
        f"option-{name}": partial(_options, name=name, values=values)
        for name, values in OPTIONS.items()
    },
    {"option-odd_task_id": partial(_options, name="task_id", values=ODD_IDS)},
    {
        f"call-{name}": partial(_calls, args=args, kwargs=kwargs)
        for name, (args, kwargs) in CALLS.items()
    },
)
