"""Messages consumed and acknowledged, measured side by side.

    python -m tests.benchmarks.consuming run [--quick] [--json FILE]
    python -m tests.benchmarks.consuming must-hold [--quick] [--json FILE]
    python -m tests.benchmarks.consuming show FILE
    python -m tests.benchmarks.consuming judge FILE

It starts a Redis server of its own; the messages are there before a row begins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..bounds import Bound, rows_of
from ..children import Child, children, interleaved, machine
from ..command import READERS, commands, listed, read, save, say, verdict
from ..control import own_server
from ..record import Column, cell, table
from .loads import LOADS
from .rows import ROWS

if TYPE_CHECKING:
    import argparse

__all__ = ("BOUNDS", "main")

#: What consuming natively must hold. An idle consumer and a wake-up are not compared.
#: Who awaits each acknowledgement makes a trip to the server for each message, which
#: alone costs more than four times the floor: such rows have a floor that does it, too.
BOUNDS = (
    Bound("drain-1", "cpu", "callbacks", "sync", 0.3),
    Bound("drain-1", "cpu", "callbacks", "floor", 4.0),
    Bound("drain-1", "cpu", "iterates", "sync", 0.3),
    Bound("drain-1", "cpu", "iterates", "floor-acks", 4.0),
    Bound("drain-1", "cpu", "loops", "sync", 0.3),
    Bound("drain-1", "cpu", "loops", "floor-acks", 4.0),
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
    parser, found = commands("consuming", __doc__)
    for name in ("run", "must-hold"):
        listed(found[name], ROWS, LOADS)
    return parser.parse_args()


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    chosen = options.rows or list(ROWS)
    loads = [LOADS[name] for name in options.loads or LOADS]
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
        children(chosen, start(port), record, say) as ready,
    ):
        for load in loads:
            wanted = ROWS if options.command == "run" else rows_of(load.name, BOUNDS)
            rows = [
                child
                for child in ready
                if child.row in wanted and ROWS[child.row].does(load)
            ]
            if rows:
                record["runs"][load.name] = interleaved(load, rows, options.rounds, say)
    save(record, options.json)
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
    reads = options.command in READERS
    record = read(options.record) if reads else _measured(options)
    print(f"\n{_tables(record)}\n")
    if options.command in {"run", "show"}:
        return 0
    return verdict(record, BOUNDS)


if __name__ == "__main__":
    raise SystemExit(main())
