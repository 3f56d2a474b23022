"""The text of arguments as Celery's `saferepr` gives it, faster for plain values."""

from __future__ import annotations

from typing import Any

from celery.utils.saferepr import saferepr

__all__ = ("short_repr",)

#: Upstream prints them with `str()`, which for these types is what `repr()` gives.
_PLAIN = frozenset({int, float, bool, type(None)})


class _Other(Exception):
    """A value that only upstream's function may print."""


def _container(value: Any, room: int, levels: int, above: tuple[Any, ...]) -> str:
    kind = type(value)
    if kind is dict:
        start, end = "{", "}"
        items: Any = value.items()
    elif kind is tuple:
        start, end = "(", ",)" if len(value) == 1 else ")"
        items = value
    elif kind is list:
        start, end = "[", "]"
        items = value
    else:
        raise _Other
    if not levels:
        # One that contains itself comes to this, and upstream names it.
        if any(value is one for one in above):
            raise _Other
        return f"{start}...{end}"
    room -= 2
    above = (*above, value)
    parts = []
    for item in items:
        if kind is dict:
            key, item = item
            text = f"{_key(key, room)}: "
            text += _value(item, room, levels - 1, above)
        else:
            text = _value(item, room, levels - 1, above)
        parts.append(text)
        room -= len(text)
        if room < 0:
            raise _Other
    return f"{start}{', '.join(parts)}{end}"


def _key(value: Any, room: int) -> str:
    if type(value) is tuple:
        raise _Other
    return _value(value, room, 0, ())


def _value(value: Any, room: int, levels: int, above: tuple[Any, ...]) -> str:
    kind = type(value)
    if kind is str:
        if len(value) > room:
            raise _Other
        quoted: str = value.replace("'", "\\'")
        return f"'{quoted}'"
    if kind in _PLAIN:
        return repr(value)
    return _container(value, room, levels, above)


def short_repr(value: Any, size: int | None, levels: int) -> str:
    """Return what `saferepr(value, size, maxlevels=levels)` returns.

    What would be cut, and every type whose text is not certain, is left to upstream's
    function.
    """
    if size and levels:
        try:
            text = _container(value, size, levels, ())
        except _Other:
            pass
        else:
            if len(text) <= size:
                return text
    return str(saferepr(value, size, maxlevels=levels))
