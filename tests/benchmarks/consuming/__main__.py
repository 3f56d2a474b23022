"""Messages consumed and acknowledged, measured side by side.

    python -m tests.benchmarks.consuming run [--quick] [--json FILE]
    python -m tests.benchmarks.consuming must-hold [--quick] [--json FILE]
    python -m tests.benchmarks.consuming show FILE
    python -m tests.benchmarks.consuming judge FILE

It starts a Redis server of its own; the messages are there before a row begins.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bounds import Bound, judge, rows_of
from ..children import Child, children, interleaved, machine
from ..control import own_server
from ..record import Column, cell, table
from .loads import LOADS
from .rows import ROWS

__all__ = ("BOUNDS", "main")

#: What consuming natively must hold. An idle consumer and a wake-up are not compared.
BOUNDS = (
    Bound("drain-1", "cpu", "callbacks", "sync", 0.3),
    Bound("drain-1", "cpu", "callbacks", "floor", 4.0),
    Bound("drain-1", "cpu", "iterates", "sync", 0.3),
    Bound("drain-1", "cpu", "iterates", "floor", 4.0),
    Bound("drain-100", "cpu", "callbacks", "sync", 0.3),
    Bound("idle-1", "share", "callbacks", "", 1.0, floor=0.01),
    Bound("idle-1", "wake", "callbacks", "", 1.0, floor=0.01),
    Bound("pingpong-1", "p50", "callbacks", "sync", 1.0),
)

_COLUMNS: tuple[Column, ...] = (
    ("CPU us", "cpu", 1e6),
    ("per s", "rate", 1),
    ("p50 ms", "p50", 1e3),
    ("Redis us", "server", 1e6),
    ("% core", "share", 100),
    ("wake ms", "wake", 1e3),
)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.consuming",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("run", "measure and print tables"),
        ("must-hold", "measure what the bounds need, and judge"),
        ("show", "print the tables of a record"),
        ("judge", "judge a record; 1 if a bound was missed"),
    ):
        command = commands.add_parser(name, help=what)
        if name in {"show", "judge"}:
            command.add_argument("record", type=Path)
            continue
        command.add_argument("--json", type=Path, help="write the record")
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--quick", action="store_true", help="a fifth of it")
        command.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
        command.add_argument("--loads", nargs="+", choices=LOADS, default=[*LOADS])
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"{time.strftime('%X')} {text}", flush=True)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    loads = [LOADS[name] for name in options.loads]
    if options.quick:
        loads = [load.smaller() for load in loads]
    record: dict[str, Any] = {
        "machine": machine(),
        "rounds": options.rounds,
        "versions": {},
        "skipped": {},
        "runs": {},
    }

    def start(port: int) -> Callable[[str], Child]:
        module = f"{__package__}.child"
        return lambda name: Child(name, module, sys.executable, port)

    with (
        own_server() as port,
        children(options.rows, start(port), record, _say) as ready,
    ):
        for load in loads:
            wanted = ROWS if options.command == "run" else rows_of(load.name, BOUNDS)
            rows = [
                child
                for child in ready
                if child.row in wanted and ROWS[child.row].does(load)
            ]
            if rows:
                record["runs"][load.name] = interleaved(
                    load, rows, options.rounds, _say
                )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _tables(record: dict[str, Any]) -> str:
    parts = []
    for load, runs in record["runs"].items():
        rows = [
            (ROWS[row].label, [cell(record, load, row, c) for c in _COLUMNS])
            for row in runs
        ]
        parts.append(table(f"**{load}**", _COLUMNS, rows))
    return "\n\n".join(parts)


def main() -> int:
    """Run a command; 1 if a bound was missed."""
    options = _parsed()
    if options.command in {"show", "judge"}:
        record = json.loads(options.record.read_text(encoding="utf-8"))
    else:
        record = _measured(options)
    print(f"\n{_tables(record)}\n")
    if options.command in {"run", "show"}:
        return 0
    verdicts = list(judge(record, BOUNDS))
    print("\n".join(map(str, verdicts)))
    return int(not all(verdict.held for verdict in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
