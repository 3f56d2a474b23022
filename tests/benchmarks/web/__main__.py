"""Requests per second of Django's async views that send, on a broker 40 ms away.

    python -m tests.benchmarks.web [--quick] [--rounds N] [--loads LOAD ...]
        [--rows ROW ...] [--json FILE]

One uvicorn process for each row, a Redis server of its own behind a proxy that holds
up what it passes on, rounds of all rows interleaved. 1 if a bound was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from ..children import Child, children, interleaved, machine
from ..command import save, say, verdict
from ..control import own_server
from ..record import Column, cell, table
from .distance import at_a_distance
from .must_hold import BOUNDS
from .rows import ROWS
from .scenario import DISTANCE, LOADS, loads

__all__ = ("main",)

_COLUMNS: tuple[Column, ...] = (
    ("views/s", "rate", 1),
    ("p50 ms", "p50", 1e3),
    ("stall ms", "stall", 1e3),
    ("CPU us", "cpu", 1e6),
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a quarter of it")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--loads", nargs="+", choices=LOADS)
    parser.add_argument("--json", type=Path, help="write the record")
    return parser.parse_args()


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    chosen = loads(options.loads, options.quick)
    record: dict[str, Any] = {
        "machine": machine(),
        "rounds": options.rounds,
        "versions": {},
        "skipped": {},
        "runs": {},
        "loads": {load.name: load.to_dict() for load in chosen},
    }
    module = f"{__package__}.child"
    with own_server() as port, at_a_distance(port, DISTANCE) as broker:

        def start(name: str) -> Child:
            return Child(name, module, sys.executable, port, broker=broker)

        with children(options.rows, start, record, say) as ready:
            for load in chosen:
                fitting = [one for one in ready if load.name in ROWS[one.row].loads]
                found = interleaved(load, fitting, options.rounds, say)
                record["runs"][load.name] = found
    return record


def _tables(record: dict[str, Any]) -> str:
    parts = []
    for load, runs in record["runs"].items():
        clients, sends = (record["loads"][load][key] for key in ("clients", "sends"))
        title = f"**{load}**, {clients} clients, {sends} sent by each view"
        rows = [
            (ROWS[row].label, [cell(record, load, row, c) for c in _COLUMNS])
            for row in runs
        ]
        parts.append(table(title, _COLUMNS, rows))
    return "\n\n".join(parts)


def main() -> int:
    """Measure and judge; 1 if a bound was missed."""
    options = _options()
    # Ends the servers and the rows, too, when somebody ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    record = _measured(options)
    save(record, options.json)
    print(f"\n{_tables(record)}\n")
    return verdict(record, [one for one in BOUNDS if one.load in record["runs"]])


if __name__ == "__main__":
    raise SystemExit(main())
