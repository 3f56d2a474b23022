"""Overrides on the send path, which every tier must run as sync code does.

A case sends with many option sets, each so often that a plan which was learned from the
first sends the last.
"""

# In the stubs of celery tasks are generic, and overrides name every option.
# mypy: disable-error-code="type-arg,attr-defined,override"

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Task
from kombu.exceptions import EncodeError

from celery_async_bridge.testing.contract.app_stage import IDS
from celery_async_bridge.testing.contract.case import Case, case_table
from celery_async_bridge.testing.contract.script import call
from tests.integration.tier_changes import BETWEEN
from tests.integration.tier_stage import REPEATS, TierStage, given

if TYPE_CHECKING:
    from celery_async_bridge.testing.contract.script import Script

__all__ = ("CHANGED", "OVERRIDDEN", "UnderStage")


class _Base(Task):
    abstract = True
    #: What overrides do, in order.
    seen: list[Any]

    @contextmanager
    def block(self, name: str) -> Iterator[None]:
        """Note the way in, the way out and what comes out."""
        self.seen.append(["in", name])
        try:
            yield
        except BaseException as exc:
            self.seen.append(["error", name, type(exc).__name__])
            raise
        finally:
            self.seen.append(["out", name])


class _Plain(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        return super().apply_async(*args, **kwargs)


class _Caught(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().apply_async(*args, **kwargs)
        except (EncodeError, TypeError, ValueError) as exc:
            return ["kept", type(exc).__name__]


class _Managed(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        with self.block("outer"), self.block("inner"):
            return super().apply_async(*args, **kwargs)


class _Mutating(_Base):
    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        headers = {**(options.pop("headers", None) or {}), "tenant": "t-1"}
        kwargs = {**(kwargs or {}), "y": 40}
        options.setdefault("priority", 4)
        options["ignore_result"] = True
        return super().apply_async(args, kwargs, headers=headers, **options)


class _Early(_Base):
    abstract = True
    calls = 0

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        if self.calls % 2:
            return None
        return super().apply_async(*args, **kwargs)


class _Raising(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        with self.block("send"):
            if not self.seen[1:]:
                raise LookupError("before")
            super().apply_async(*args, **kwargs)
            raise LookupError("after")


class _Double(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        first = super().apply_async(*args, **kwargs)
        return [first, super().apply_async(*args, **{**kwargs, "priority": 2})]


class _Another(_Base):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        other = self.app.tasks["contract.ignoring"]
        before = other.apply_async((0,), {"y": 1}, countdown=5)
        result = super().apply_async(*args, **kwargs)
        return [
            before,
            result,
            self.app.send_task("contract.far", (1,)),
            other.delay(2),
        ]


class _Inherited(_Managed):
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["shadow"] = "of-a-subclass"
        return super().apply_async(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append("delay")
        return super().delay(*args, **kwargs)


class _Configured(_Plain):
    abstract = True
    priority = 3
    expires = 90
    time_limit = 9
    soft_time_limit = 8


class _Pickling(_Plain):
    abstract = True
    serializer = "pickle"


BASES: Mapping[str, type[_Base]] = {
    "plain": _Plain,
    "caught": _Caught,
    "managed": _Managed,
    "mutating": _Mutating,
    "early": _Early,
    "raising": _Raising,
    "double": _Double,
    "another": _Another,
    "inherited": _Inherited,
    "configured": _Configured,
    "pickling": _Pickling,
}


def _s(stage: Any, *args: Any) -> Any:
    return stage.tasks["add"].s(*args)


#: Option sets; each is sent a few times.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "queue": {"queue": lambda s: f"{s.run}.one"},
    "priority": {"priority": 0, "task_id": IDS[1]},
    "countdown": {"countdown": 10, "expires": 60.5},
    "headers": {"headers": {"x": {"y": [1, "two", None]}}},
    "link": {"link": lambda s: [_s(s, 1)], "link_error": lambda s: _s(s, 9)},
    "limits": {"time_limit": 0, "soft_time_limit": None, "expires": None},
    "quiet": {"ignore_result": True, "add_to_parent": False, "shadow": "other"},
    "retry": {"retry": False, "retry_policy": None},
    "retries": {"retries": 2, "root_id": IDS[2], "group_id": IDS[3]},
    "topic": {"exchange": lambda s: f"{s.run}.topic", "routing_key": "news.x"},
    "pickled": {"serializer": "pickle", "task_id": IDS[1]},
    "unknown": {"purple": True, "stamped_headers": ["a"], "a": ["x"]},
}


def _add(x: int, y: int = 0) -> int:
    return x + y


def _task(stage: Any, base: type[_Base], name: str = "contract.over") -> Any:
    found = stage.app.task(_add, shared=False, name=name, base=base)
    found.seen, type(found).calls = stage.seen, 0
    return found


def _sends(stage: Any, *, base: type[_Base]) -> Script:
    task = _task(stage, base)
    for number, options in enumerate(OPTIONS.values()):
        for _ in range(REPEATS):
            yield from _step(task, "apply_async", (number, 1), **given(stage, options))
    for _ in range(REPEATS):
        yield from _step(task, "delay", 1, y=2)
        yield from _step(task.s(1).set(priority=5), "delay", 2)
        yield from _step(task, "apply_async", [1, {"deep": [True, 1.0, "\u00e9"]}])
    # What must fail does so in the same way; then the plans still hold.
    yield from _step(task, "delay", 1, 2, 3)
    yield from _step(task, "delay", object())
    yield from _step(task, "apply_async", (1,), {"y": {1j}})
    yield from _step(task, "apply_async", 7)
    yield from _step(task, "delay", 1, y=2)


def _step(target: Any, name: str, *args: Any, **kwargs: Any) -> Script:
    try:
        yield call(target, name, *args, **kwargs)
    except Exception as exc:  # noted
        del exc


class UnderStage(TierStage):
    """A stage that shows what overrides have seen, too."""

    def look(self) -> Any:
        """Return what Redis holds, what was published and what was seen."""
        return {**super().look(), "seen": self.seen}


def _send_task_class(stage: Any) -> Script:
    """An app of a class with a `send_task` of its own."""

    class Own(type(stage.app)):  # type: ignore[misc]
        def send_task(self, name: str, *args: Any, **kwargs: Any) -> Any:
            stage.seen.append(name)
            kwargs["priority"] = 7
            return super().send_task(name, *args, **kwargs)

    stage.app.__class__ = Own
    for number in range(REPEATS):
        yield call(stage.tasks["add"], "delay", number)
        yield call(stage.app, "send_task", "contract.add", (number, 3))
        yield call(stage.app, "send_task", "contract.far", (number,), countdown=3)
        yield call(stage.app, "send_task", "contract.far", (number,), {}, 0, None)


#: Sends through overrides.
OVERRIDDEN: tuple[Case, ...] = case_table(
    {
        **{name: partial(_sends, base=base) for name, base in BASES.items()},
        "send_task": _send_task_class,
    }
)


def _change(stage: Any, *, between: Callable[[Any], None]) -> Script:
    """Change something between two sends through an override."""
    stage.app.tasks.unregister("contract.add")
    task = stage.tasks["add"] = _task(stage, _Plain, "contract.add")
    for step in (0, 1):
        if step:
            between(stage)
        for number in range(2 if step else REPEATS):
            yield from _step(task, "delay", number, y=3)
            yield from _step(task, "apply_async", (number, 3), task_id=IDS[number])


CHANGED: tuple[Case, ...] = case_table(
    {name: partial(_change, between=between) for name, between in BETWEEN.items()}
)
