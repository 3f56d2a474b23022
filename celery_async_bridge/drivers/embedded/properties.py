"""Messages as a wire would carry them: what goes in is a copy, with AMQP's types."""

from __future__ import annotations

import datetime
from typing import Any

import amqp
from amqp.serialization import dumps, loads

__all__ = ("body_of", "copied", "delay_of", "properties_of", "sound")

#: The codec's letter for each property.
_KINDS: dict[str, str] = dict(amqp.Message.PROPERTIES)
_PLAIN = frozenset({str, float, bool, type(None)})
#: What nobody can change needs no copy.
_FIXED = _PLAIN | {int, bytes}


class _Strange(Exception):
    """A value that only the codec knows how to treat."""


def copied(value: Any) -> Any:
    """Return a copy of a table; a `_Strange` value stays what it is."""
    if type(value) is dict:
        return {
            key: one if type(one) in _FIXED else copied(one)
            for key, one in value.items()
        }
    if type(value) is list:
        return [copied(one) for one in value]
    return value


def _plain(value: Any) -> Any:
    """Return a copy as the codec would, if that is plain to see."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int and -(2**63) <= value < 2**63:
        return value
    if kind is dict:
        found = {}
        for key, one in value.items():
            if type(key) is not str or len(key) >= 64:
                raise _Strange
            found[key] = one if type(one) in _PLAIN else _plain(one)
        return found
    if kind is list or kind is tuple:
        return [_plain(one) for one in value]
    raise _Strange


def sound(format: str, args: Any) -> list[Any]:
    """Return the arguments of a method as a server would read them.

    Raises:
        FrameSyntaxError: the codec has no form for a value.
    """
    decoded, _ = loads(format, dumps(format, args), 0)
    return list(decoded)


def properties_of(message: Any) -> dict[str, Any]:
    """Return a copy of the properties that are set.

    Raises:
        FrameSyntaxError: the codec has no form for a header.
    """
    given = message.properties
    found: dict[str, Any] = {}
    try:
        for name, value in given.items():
            kind = _KINDS.get(name)
            if value is None or kind is None:
                continue
            if kind == "s":
                if type(value) is not str or len(value) > 60:
                    _short(value)
            elif kind == "o":
                if type(value) is not int or not 0 <= value < 256:
                    raise _Strange
            elif kind == "F":
                value = _plain(value)
            elif type(value) is not int:
                raise _Strange
            found[name] = value
    except _Strange:
        codec: Any = amqp.Message(**{name: given.get(name) for name in _KINDS})
        codec._load_properties(codec.CLASS_ID, codec._serialize_properties(), 0)
        return dict(codec.properties)
    return found


def _short(value: Any) -> None:
    if type(value) is not str or len(value.encode("utf-8", "surrogatepass")) > 255:
        raise _Strange


def body_of(message: Any, properties: dict[str, Any]) -> bytes:
    """Return the payload in bytes; text gets an encoding, as py-amqp gives it one."""
    body = message.body
    if isinstance(body, str):
        encoding = properties.setdefault("content_encoding", "utf-8")
        message.properties.setdefault("content_encoding", encoding)
        return body.encode(encoding)
    return bytes(body)


def delay_of(properties: dict[str, Any], now: float) -> float:
    """Return the seconds until the `eta` of one of Celery's tasks; 0 for none.

    Arguments:
        properties: of the message.
        now: seconds since the epoch.
    """
    headers = properties.get("application_headers")
    if not headers or "task" not in headers:
        return 0.0
    eta = headers.get("eta")
    if not isinstance(eta, str):
        return 0.0
    try:
        when = datetime.datetime.fromisoformat(eta.replace("Z", "+00:00"))
    except ValueError:
        return 0.0  # the worker says what is wrong with it
    if when.tzinfo is None:
        return 0.0  # in the zone of the app, which only the worker knows
    return max(when.timestamp() - now, 0.0)
