"""How the arguments of bindings match headers."""

from __future__ import annotations

from typing import Any

__all__ = ("MODES", "matches")

Table = dict[str, Any]

#: What `x-match` may say: whether all must match, and whether `x-` names count.
MODES = {
    "all": (True, False),
    "any": (False, False),
    "all-with-x": (True, True),
    "any-with-x": (False, True),
}


def matches(wanted: Table, headers: Table) -> bool:
    """Whether the headers of a message have what a binding wants."""
    every, with_x = MODES[wanted.get("x-match", "all")]
    tests = (
        name in headers and _same(value, headers[name])
        for name, value in wanted.items()
        if name != "x-match" and (with_x or not name.startswith("x-"))
    )
    return all(tests) if every else any(tests)


def _same(wanted: Any, value: Any) -> bool:
    if wanted is None:
        return True
    # Python counts True as 1; AMQP's booleans are no numbers.
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)
