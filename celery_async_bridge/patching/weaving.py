"""Put the twins into a file of upstream, where `ast` says, and out again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .reading import class_named
from .refusal import Refused

if TYPE_CHECKING:
    from .gains import Gain

__all__ = ("Hunk", "added", "unweave", "weave")

_NOTE = "# Awaitable twins, by celery-async-bridge."
_HELPERS = "celery_async_bridge.patching.twin"


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that were put in.

    Attributes:
        after: how many lines of the original are before them.
        lines: the lines, without their ends.
    """

    after: int
    lines: tuple[str, ...]


def weave(
    before: bytes, tree: ast.Module, gains: Sequence[Gain]
) -> tuple[bytes, list[Hunk]]:
    """Return a file with its twins, and what was put in where.

    Arguments:
        before: the file as upstream ships it.
        tree: the same, parsed.
        gains: what its module and classes get.

    Raises:
        Refused: the file is not of a form to which lines can be added.
    """
    if b"\r" in before or not before.endswith(b"\n"):
        raise Refused(f"{gains[0].module} has other line ends than upstream's")
    _free(before, gains)
    hunks = [Hunk(_imports_end(tree), tuple(_imports(gains)))]
    hunks += [_of_class(tree, gain) for gain in gains if gain.owner]
    hunks.sort(key=lambda hunk: hunk.after)
    lines = before.splitlines(keepends=True)
    for hunk in reversed(hunks):
        lines[hunk.after : hunk.after] = [f"{line}\n".encode() for line in hunk.lines]
    return b"".join(lines), hunks


def unweave(after: bytes, places: Iterable[tuple[int, int]]) -> bytes:
    """Return a file without the lines that were put in.

    Arguments:
        after: the patched file.
        places: for each hunk how many original lines are before it, and its length.
    """
    lines = after.splitlines(keepends=True)
    for start, length in sorted(places):
        # Those of earlier hunks are gone already, so original places hold.
        del lines[start : start + length]
    return b"".join(lines)


def added(gains: Sequence[Gain]) -> list[str]:
    """Return all lines that a file with these gains gets, in no special order."""
    found = list(_imports(gains))
    for gain in gains:
        if gain.owner:
            found += _body(gain, " " * 4)
    return found


def _alias(gain: Gain) -> str:
    return f"_{gain.mixin}"


def _free(before: bytes, gains: Sequence[Gain]) -> None:
    """Refuse a file that uses names of ours itself."""
    ours = [_alias(gain) for gain in gains if gain.owner]
    names = [*ours, "_twin", "_class_twin"]
    taken = [name for name in names if re.search(rf"\b{name}\b".encode(), before)]
    if taken or len(set(ours)) < len(ours):
        raise Refused(f"{gains[0].module} has names of ours: {taken or ours}")


def _imports_end(tree: ast.Module) -> int:
    """Return the line after which our imports go: the last one of upstream's own.

    Those before the first definition only; the twins must be there when classes are
    made.
    """
    end = 0
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            break
        text = place == 0 and isinstance(node, ast.Expr)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            end = node.end_lineno or 0
    return end


def _imports(gains: Sequence[Gain]) -> Iterable[str]:
    wanted: dict[str, list[str]] = {}
    for gain in gains:
        names = wanted.setdefault(gain.source, [])
        if gain.owner:
            names.append(f"{gain.mixin} as {_alias(gain)}")
        else:
            # `as` itself: so type checkers take it for a name of this module.
            names += [f"{name} as {name}" for name in gain.names]
    forms = {_form(gain, name) for gain in gains if gain.owner for name in gain.names}
    helpers = [f"{name} as _{name}" for name in ("class_twin", "twin") if name in forms]
    if helpers:
        wanted[_HELPERS] = helpers
    yield ""
    yield f"{_NOTE} To take them out: celery-async-bridge patches revert"
    for module, names in wanted.items():
        yield f"from {module} import ("
        yield from (f"    {name}," for name in names)
        yield ")"


def _of_class(tree: ast.Module, gain: Gain) -> Hunk:
    node = class_named(tree, gain.owner)
    if node is None:
        raise Refused(f"there is no class {gain.owner} in {gain.module}")
    first, last = node.body[0], node.body[-1]
    if first.lineno == node.lineno or last.end_lineno is None:
        raise Refused(f"{gain.module}: the class {gain.owner} is one line")
    indent = " " * first.col_offset
    return Hunk(last.end_lineno, tuple(_body(gain, indent)))


def _body(gain: Gain, indent: str) -> Iterable[str]:
    yield ""
    yield indent + _NOTE
    for name in gain.names:
        value = f"{_alias(gain)}.{name}"
        form = _form(gain, name)
        yield f"{indent}{name} = " + (f"_{form}({value})" if form else value)


def _form(gain: Gain, name: str) -> str:
    """Name the helper that a twin goes through; "" for what is taken as it is."""
    value: Any = gain.offer[name]
    if isinstance(value, classmethod):
        return "class_twin"
    if isinstance(value, staticmethod):
        raise TypeError(f"{gain.mixin}.{name} is a static method: no form for it yet")
    return "twin" if callable(value) else ""
