"""Write the generated parts of `docs/NEXT_STEPS.md`, or check that they are current.

Usage: python -m celery_async_bridge._tools.ledger [--check] [--file PATH]

The text depends on this package alone, not on what else is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from inspect import cleandoc
from itertools import groupby
from pathlib import Path
from typing import Any

from ..core.graft import offered
from ..mixins._sides import pushed_of, sides_of, waits_of
from ..mixins._twin import kind_of
from .needs import NEEDS, needs_of
from .surface import Member, surface

__all__ = ("NATIVE", "NATIVE_WAITS", "additions", "main", "render")

FILE = Path(__file__).parents[2] / "docs" / "NEXT_STEPS.md"
#: The URL schemes that the drivers of this package serve, by side.
NATIVE = {
    "broker": (
        "memory",
        "embedded",
        "redis",
        "rediss",
        "redis+socket",
        "sentinel",
    ),
    "backend": (
        "cache+memory",
        "embedded",
        "redis",
        "rediss",
        "socket",
        "sentinel",
    ),
}
#: The same for what waits for messages and replies; results are pushed.
NATIVE_WAITS = {"broker": NATIVE["broker"], "backend": ("cache+memory", "embedded")}

_TABLES = ("kombu", "celery")
_BLOCK = re.compile(
    r"(?P<begin><!-- begin (?P<name>\w+) -->\n).*?(?P<end><!-- end (?P=name) -->)",
    re.DOTALL,
)
_HOW = {
    "leaf": "one sync call",
    "read": "one sync call",
    "wait": "one sync call that waits",
    "stream": "a sync iterator",
    "enter": "a sync context manager",
    "make": "a sync context manager",
}


@cache
def _sources() -> dict[str, Any]:
    """Map the dotted path of each target to what it gets, without upstream."""
    found = {}
    for half in _TABLES:
        table = import_module(f"celery_async_bridge.mixins.{half}._targets")
        for owner, source, *_ in table.TARGETS:
            module, _, name = source.partition(":")
            mixin = import_module(module)
            found[owner.replace(":", ".")] = getattr(mixin, name) if name else mixin
    return found


def _twin(path: str, name: str) -> Any:
    source = _sources().get(path)
    return None if source is None else offered(source).get(name)


def _first_line(fn: Any) -> str:
    # Python 3.13 takes the indentation out of docstrings, earlier ones do not.
    text = cleandoc(getattr(getattr(fn, "__func__", fn), "__doc__", None) or "")
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _native(sides: Iterable[str], waits: bool) -> str:
    sides = tuple(sides)
    if not sides:
        return "everywhere (no server)"
    served = NATIVE_WAITS if waits else NATIVE
    return " with ".join(
        ", ".join(f"`{scheme}://`" for scheme in served[side]) for side in sides
    )


def additions() -> Iterator[tuple[str, str, Any]]:
    """Yield (path, name, function) of what is more than a twin of a listed member."""
    known = {(row.path, name) for row in surface() for name in row.twins}
    paths = {source: path for path, source in _sources().items()}
    for path, source in _sources().items():
        bases = [
            paths[base] for base in getattr(source, "__mro__", ()) if base in paths
        ]
        for name, value in offered(source).items():
            private = name.startswith("_") and not name.startswith("__")
            listed = any((base, name) in known for base in (path, *bases))
            if not private and not listed:
                yield path, name, value


def _counts() -> Iterator[str]:
    rows = surface()
    bridged = [row for row in rows if row.twins]
    reasons = Counter(row.reason.partition(":")[0] for row in rows if not row.twins)
    hows: Counter[str] = Counter()
    for row in bridged:
        for name in row.twins:
            mark = kind_of(_twin(row.path, name))
            hows[_HOW.get("" if mark is None else mark.kind, "composed of others")] += 1
    listed = Counter({"in all": len(rows), "with a twin": len(bridged)})
    for title, counts in (
        (
            f"public members of {len({r.path for r in rows})} classes and modules",
            listed,
        ),
        ("how the twins run", hows),
        ("why the others have none", reasons),
    ):
        yield f"- {title}: " + ", ".join(
            f"{count} {what}" for what, count in counts.most_common()
        )


def _table(rows: list[Member]) -> Iterator[str]:
    yield "| sync | awaitable | what it awaits | native on | upstream needs |"
    yield "|---|---|---|---|---|"
    for row in rows:
        for name in row.twins:
            fn, path = _twin(row.path, name), f"{row.path}.{name}"
            waits = waits_of(path, fn) and not pushed_of(path)
            yield (
                f"| `{row.member}` | `{name}` | {_first_line(fn)} "
                f"| {_native(sides_of(path, fn), waits)} "
                f"| {', '.join(needs_of(row))} |"
            )


def _ledger() -> Iterator[str]:
    for path, group in groupby(surface(), key=lambda row: row.path):
        rows = list(group)
        yield f"### `{path}`"
        yield ""
        bridged = [row for row in rows if row.twins]
        if bridged:
            yield from _table(bridged)
            yield ""
        rest: dict[str, list[str]] = {}
        for row in rows:
            if not row.twins:
                rest.setdefault(row.reason, []).append(f"`{row.member}`")
        if rest:
            yield "No twin:"
            yield ""
            yield from (f"- {', '.join(names)}: {why}" for why, names in rest.items())
            yield ""


def _additions() -> Iterator[str]:
    yield "| class | method | what it does |"
    yield "|---|---|---|"
    for path, name, fn in additions():
        yield f"| `{path}` | `{name}` | {_first_line(fn)} |"


def _needs() -> Iterator[str]:
    yield "| need | what it is |"
    yield "|---|---|"
    yield from (f"| {name} | {text} |" for name, text in NEEDS.items())


_BLOCKS = {
    "counts": _counts,
    "needs": _needs,
    "ledger": _ledger,
    "additions": _additions,
}


def render(text: str) -> str:
    """Return the document with its generated blocks made anew.

    Raises:
        ValueError: a block is missing.
    """
    seen = set()

    def fill(found: re.Match[str]) -> str:
        seen.add(found["name"])
        body = "\n".join(_BLOCKS[found["name"]]()).strip()
        return f"{found['begin']}\n{body}\n\n{found['end']}"

    done = _BLOCK.sub(fill, text)
    if seen != set(_BLOCKS):
        raise ValueError(f"markers missing: {', '.join(sorted(set(_BLOCKS) - seen))}")
    return done


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    parser = argparse.ArgumentParser(prog="ledger", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if stale"
    )
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args(argv)
    before = options.file.read_text(encoding="utf-8")
    after = render(before)
    if before == after:
        return 0
    if options.check:
        print(f"{options.file.name} is stale: run it without --check", file=sys.stderr)
        return 1
    options.file.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
