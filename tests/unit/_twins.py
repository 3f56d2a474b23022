"""Look at twins and at what they stand for."""

from __future__ import annotations

import inspect
from functools import cached_property
from importlib.metadata import version
from types import ModuleType
from typing import Any

from celery_async_bridge._tools.surface import Member, resolve, surface
from celery_async_bridge.mixins._twin import kind_of

MISSING = object()


def static(owner: Any, name: str) -> Any:
    """The raw attribute, found as `vars` along the MRO find it."""
    for holder in getattr(owner, "__mro__", (owner,)):
        if name in vars(holder):
            return vars(holder)[name]
    return MISSING


def function(value: Any) -> Any:
    """The function inside a classmethod or staticmethod."""
    return getattr(value, "__func__", value)


def pairs() -> list[tuple[Member, str]]:
    """Every twin of the data: its row and its name."""
    return [(row, name) for row in surface() for name in row.twins]


def label(value: Any) -> str:
    """A test id."""
    return str(value) if isinstance(value, Member) else value


def owner_of(row: Member) -> Any:
    """The installed class or module of a row, None if there is none."""
    return resolve(row.module, row.owner)


def is_latest() -> bool:
    """Whether this is the upstream whose signatures the mixins have."""
    return all(version(name).startswith("5.7.") for name in ("celery", "kombu"))


def kinds(value: Any) -> set[str]:
    """How a function can be used: "call", "iter", "enter"."""
    fn = function(value)
    mark = kind_of(fn)
    if mark is not None and mark.kind in {"enter", "make"}:
        return {"enter", "call"}
    if inspect.iscoroutinefunction(fn):
        return {"call"}
    if inspect.isasyncgenfunction(fn):
        return {"iter"}
    inner = getattr(fn, "__wrapped__", None)
    if inner is not None and inspect.isasyncgenfunction(inner):
        return {"enter"}
    returns = str(getattr(fn, "__annotations__", {}).get("return", ""))
    found = set()
    if returns.startswith(("AsyncIterator", "AsyncGenerator")):
        found.add("iter")
    if "AsyncContextManager" in returns or "Entering" in returns:
        found |= {"enter"}
    if returns.startswith(("Coroutine", "Awaitable", "Callable[..., Coroutine")):
        found.add("call")
    return found


def is_property(value: Any) -> bool:
    """Whether reading the attribute runs code."""
    return (
        isinstance(value, property | cached_property)
        or type(value).__name__ in {"cached_property", "class_property"}
        or (not isinstance(value, ModuleType) and not callable(function(value)))
    )
