"""What two sends must have in common to be written from one template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("BARE", "SLOTS", "Key", "shape_of")

Key = tuple[Any, ...]

#: The shape of a send without options.
BARE: Key = ()

#: Options whose values change from call to call; whether they are given is the shape.
SLOTS = frozenset({"task_id", "countdown", "eta", "headers", "link", "link_error"})

#: Options that upstream only compares and copies: their values belong to the shape.
_CONSTANT = frozenset(
    {
        "add_to_parent",
        "confirm_timeout",
        "delivery_mode",
        "exchange",
        "expires",
        "ignore_result",
        "priority",
        "queue",
        "retry",
        "routing_key",
        "serializer",
        "shadow",
        "soft_time_limit",
        "time_limit",
        "timeout",
    }
)
_PLAIN = frozenset({str, int, float, bool, type(None)})
#: A time as text or object makes upstream compute with the clock.
_SECONDS = frozenset({int, float, type(None)})


def shape_of(options: Mapping[str, Any]) -> Key | None:
    """Return the shape of a send, or None if only upstream's code can send it."""
    key: list[Any] = []
    for name, value in options.items():
        if name in SLOTS:
            # Upstream looks at the truth of these.
            if not value:
                continue
            if name == "task_id":
                if type(value) is not str:
                    return None
                continue
            if name == "headers" and type(value) is not dict:
                return None
            key.append(name)
        elif name in _CONSTANT:
            kind = type(value)
            if kind not in (_SECONDS if name == "expires" else _PLAIN):
                return None
            # 1, 1.0 and True are equal, but not as JSON.
            key.append((name, kind, value))
        else:
            return None
    return tuple(key)
