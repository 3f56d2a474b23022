"""What a call did, in a form that two runs can be compared by.

Values become plain trees (type names, numbers, text, lists). Whatever differs between
two equal runs is masked: the names of the run, ids (numbered in order of appearance, so
that relations between them stay visible), clocks and consumer tags.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ("Outcome", "blank", "describe", "differences", "masked", "named")

# Ids that begin with zeros were given by the script: they are the same in both runs.
_UUID = re.compile(r"(?!0{8}-)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# Celery names its reply queue after the thread that sends, whoever listens to it. That
# it is the right thread where it matters is shown by the round trips.
_REPLY_TO = re.compile(rf'("reply_to": "){_UUID.pattern}"')
_CLOCKS = (
    # An ISO date and time; seconds since 1970; milliseconds until a far date.
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:?\d\d|Z)?"),
    re.compile(r"(?<![\d.])1[6-9]\d{8}(?:\.\d+)?(?![\d.])"),
    re.compile(r"(?<![\d.])\d{12,13}(?![\d.])"),
)
_COUNTERS = re.compile(r"\bNone\d+\b|\bamq\.ctag-[\w-]+|\bamq\.gen-[\w-]+")
#: Keys whose values are measured.
_DURATIONS = ("runtime",)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Most texts are names; whatever one of the above matches has a part of this.
_UNSTEADY = re.compile(r"[\d-]|amq\.| at 0x")


@dataclass
class Outcome:
    """Everything that is compared.

    Attributes:
        steps: for each step its name, "returned" or "raised", and the value.
        signals: the signals fired, in order, with their keyword arguments.
        wire: what the servers hold afterwards.
    """

    steps: list[Any] = field(default_factory=list)
    signals: list[Any] = field(default_factory=list)
    wire: Any = None

    def tree(self) -> dict[str, Any]:
        """Return the outcome as a plain tree."""
        return {"steps": self.steps, "signals": self.signals, "wire": self.wire}


def named(value: object) -> str:
    """Return the full name of a value's type."""
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def _message(message: Any) -> Any:
    parts = ("body", "headers", "content_type", "content_encoding", "delivery_info")
    found = {part: describe(getattr(message, part)) for part in parts}
    found["properties"] = describe(message.properties)
    found["acknowledged"] = message.acknowledged
    return found


def _result(result: Any) -> Any:
    if hasattr(result, "results"):
        return {"id": result.id, "results": describe(list(result.results))}
    return {"id": result.id, "parent": describe(result.parent)}


def _eager(result: Any) -> Any:
    return {"id": result.id, "state": result.state, "value": describe(result.result)}


def _error(error: BaseException) -> Any:
    # The text of a timeout is whatever the layer that noticed it writes; that of a
    # missing attribute names the twin.
    unsaid = isinstance(error, TimeoutError | AttributeError)
    return {"args": describe(() if unsaid else error.args)}


def _entity(entity: Any) -> Any:
    return {"name": entity.name, "bound": entity.is_bound}


#: Type name (of the class or one of its bases) -> how its values are described.
_DESCRIBED: Mapping[str, Callable[[Any], Any]] = {
    "kombu.message.Message": _message,
    "celery.result.EagerResult": _eager,
    "celery.result.AsyncResult": _result,
    "celery.result.ResultSet": _result,
    "builtins.BaseException": _error,
    "kombu.entity.Exchange": _entity,
    "kombu.entity.Queue": _entity,
    # A reference to a live object: its type is all that two runs share.
    "celery.app.task.Task": lambda task: task.name,
    "celery.canvas.Signature": lambda signature: describe(dict(signature)),
}


def describe(value: Any) -> Any:
    """Return a plain tree of a value; of an unknown type only its name remains."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"bytes:{bytes(value).decode('latin-1')}"
    if isinstance(value, datetime):
        return f"datetime:{value.isoformat()}"
    for cls in type(value).__mro__:
        form = _DESCRIBED.get(f"{cls.__module__}.{cls.__qualname__}")
        if form is not None:
            return {"type": named(value), **_as_dict(form(value))}
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return {"type": named(value), "items": _items(value)}
    if isinstance(value, type) or callable(value):
        return f"<{getattr(value, '__qualname__', named(value))}>"
    return {"type": named(value)}


class _Begun(threading.local):
    """The containers that a thread is describing, by their ids."""

    def __init__(self) -> None:
        self.ids: set[int] = set()


_begun = _Begun()


def _items(value: Any) -> Any:
    # Nothing may run out of stack here: a finalizer that the collector calls at that
    # depth fails, too, and nobody can catch what it raises.
    if id(value) in _begun.ids:
        return "<itself>"
    _begun.ids.add(id(value))
    try:
        if isinstance(value, Mapping):
            return [_pair(pair) for pair in value.items()]
        found = [describe(item) for item in value]
        return found if isinstance(value, list | tuple) else sorted(found, key=blank)
    finally:
        _begun.ids.discard(id(value))


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _pair(pair: tuple[Any, Any]) -> Any:
    key, value = pair
    if key in _DURATIONS:
        return [key, "<time>"]
    if key == "reply_to" and isinstance(value, str):
        return [key, _UUID.sub("<thread>", value)]
    return [describe(key), describe(value)]


def blank(value: Any) -> str:
    """Return the text of a value without its ids: what two runs can be sorted by."""
    return _UUID.sub("", repr(value))


class _Mask:
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.ids: dict[str, str] = {}

    def _id(self, found: re.Match[str]) -> str:
        # As long as an id, so that lengths stay comparable.
        return self.ids.setdefault(found[0], f"<id {len(self.ids) + 1}>".ljust(36, "-"))

    def text(self, text: str) -> str:
        for name, mask in self.names.items():
            text = text.replace(name, mask)
        if _UNSTEADY.search(text) is None:
            return text
        text = _REPLY_TO.sub(r'\1<thread>"', text)
        text = _UUID.sub(self._id, text)
        for clock in _CLOCKS:
            text = clock.sub("<time>", text)
        text = _ADDRESS.sub("", text)
        return _COUNTERS.sub("<tag>", text)

    def tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        if isinstance(value, float):
            return "<time>" if value > 1.6e9 else value
        return value


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """Tell where two trees differ, one line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*expected, *found]):
            where = f"{path}.{key}"
            if key not in found:
                yield f"{where}: missing, expected {expected[key]!r}"
            elif key not in expected:
                yield f"{where}: not expected, found {found[key]!r}"
            else:
                yield from differences(expected[key], found[key], where)
    elif isinstance(expected, list) and isinstance(found, list):
        for n, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from differences(one, other, f"{path}[{n}]")
        for n in range(len(expected), len(found)):
            yield f"{path}[{n}]: not expected, found {found[n]!r}"
        for n in range(len(found), len(expected)):
            yield f"{path}[{n}]: missing, expected {expected[n]!r}"
    elif isinstance(expected, str) and isinstance(found, str):
        if expected != found:
            # Long texts (bodies): what comes before the difference is left out.
            pairs = enumerate(zip(expected, found, strict=False))
            shorter = min(len(expected), len(found))
            same = next((n for n, (a, b) in pairs if a != b), shorter)
            cut = slice(max(same - 40, 0), same + 160)
            yield f"{path}: expected {expected[cut]!r}, found {found[cut]!r}"
    elif expected != found:
        yield f"{path}: expected {expected!r}, found {found!r}"


def masked(outcome: Outcome, names: Mapping[str, str]) -> dict[str, Any]:
    """Return an outcome with everything masked that is the run's own.

    Arguments:
        outcome: what happened.
        names: text of this run -> what stands for it.
    """
    tree: dict[str, Any] = _Mask(names).tree(outcome.tree())
    return tree
