"""What the command lines of the measurements share: measure, keep, show, judge."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .bounds import Bound, judge, rows_of

__all__ = ("READERS", "commands", "listed", "needed", "read", "save", "say", "verdict")

#: Commands that measure nothing.
READERS = frozenset({"show", "judge"})

_COMMANDS = {
    "run": "measure and print tables",
    "must-hold": "measure what the bounds need, and judge",
    "show": "print the tables of a record",
    "judge": "judge a record; 1 if a bound was missed",
}


class _Load(Protocol):
    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...


L = TypeVar("L", bound=_Load)


def commands(
    name: str, doc: str | None, **more: str
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return a parser and its commands; those that measure can keep their record.

    Arguments:
        name: of the package of the measurement.
        doc: the description.
        more: names and help of further commands that measure.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added = parser.add_subparsers(dest="command", required=True)
    found = {}
    for command, what in {**_COMMANDS, **more}.items():
        one = found[command] = added.add_parser(command, help=what)
        if command in READERS:
            one.add_argument("record", type=Path)
        else:
            one.add_argument("--json", type=Path, help="write the record")
    return parser, found


def listed(
    command: argparse.ArgumentParser, rows: Collection[str], loads: Collection[str]
) -> None:
    """Let a command take a choice of rows and loads; None stands for all."""
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--quick", action="store_true", help="a fifth of it")
    command.add_argument("--rows", nargs="+", choices=rows, metavar="ROW")
    command.add_argument("--loads", nargs="+", choices=loads, metavar="LOAD")


def needed(
    loads: Iterable[L], bounds: Sequence[Bound], chosen: Collection[str]
) -> list[tuple[L, list[str]]]:
    """Return the loads that bounds need, each with those of the rows that they need."""
    pairs = [(load, rows_of(load.name, bounds)) for load in loads]
    return [(load, [r for r in rows if r in chosen]) for load, rows in pairs if rows]


def say(text: str) -> None:
    """Print with the time."""
    print(f"{time.strftime('%X')} {text}", flush=True)


def save(record: dict[str, Any], path: Path | None) -> None:
    """Keep a record, if it is wanted."""
    if path:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Return what `save` has kept."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def verdict(record: dict[str, Any], bounds: Iterable[Bound]) -> int:
    """Print what became of the bounds; 1 if one was missed."""
    found = list(judge(record, bounds))
    print("\n".join(map(str, found)))
    return int(not all(one.held for one in found))
