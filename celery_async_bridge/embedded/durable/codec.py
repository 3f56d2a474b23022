"""AMQP's values as text and back: JSON, with a form for what JSON does not know."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

__all__ = ("read", "write")

#: What text in the long form begins with; JSON of ours begins with a bracket.
_LONG = "!"

#: Name of a type in the long form, the type, and the ways there and back.
_FORMS: tuple[tuple[str, type, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (
        "time",
        datetime.datetime,
        datetime.datetime.isoformat,
        datetime.datetime.fromisoformat,
    ),
    ("decimal", Decimal, str, Decimal),
    (
        "bytes",
        bytes,
        lambda value: base64.b64encode(value).decode("ascii"),
        base64.b64decode,
    ),
)
_READERS = {name: reader for name, _, _, reader in _FORMS}


class _Strange(Exception):
    """A value that JSON has no form for."""


def _refuse(value: Any) -> Any:
    raise _Strange


_plain = json.JSONEncoder(default=_refuse, separators=(",", ":")).encode


def write(value: list[Any]) -> str:
    """Return a list of AMQP's values as text in ASCII.

    Raises:
        TypeError: a value is of no type that AMQP has.
    """
    try:
        return _plain(value)
    except _Strange:
        return _LONG + _plain(_marked(value))


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {"dict": {key: _marked(one) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_marked(one) for one in value]
    for name, kind, writer, _ in _FORMS:
        if isinstance(value, kind):
            return {name: writer(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no form in AMQP")


def read(text: str) -> Any:
    """Return what was written."""
    if text.startswith(_LONG):
        return _unmarked(json.loads(text[len(_LONG) :]))
    return json.loads(text)


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    if name == "dict":
        return {key: _unmarked(one) for key, one in inner.items()}
    return _READERS[name](inner)
