"""Round trips of tasks, measured side by side.

    python -m tests.benchmarks.waiting run [--quick] [--json FILE]
    python -m tests.benchmarks.waiting must-hold [--quick] [--json FILE]
    python -m tests.benchmarks.waiting soak [--seconds N] [--json FILE]
    python -m tests.benchmarks.waiting show FILE
    python -m tests.benchmarks.waiting judge FILE

It starts a Redis server of its own, and whoever answers. A row whose package is not
installed is left out; aio-celery needs RabbitMQ, at `BRIDGE_TEST_AMQP_URL` or here.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bounds import judge, rows_of
from .harness import run
from .must_hold import BOUNDS, SOAK
from .report import table
from .rows import ROWS
from .scenario import PROOFS, SCENARIOS, Proof, Scenario, scenarios

__all__ = ("main",)

#: Commands that measure nothing.
_READERS = frozenset({"show", "judge"})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.waiting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("run", "measure and print tables"),
        ("must-hold", "measure what the bounds need, and judge"),
        ("soak", "wait for 100,000 results in a minute, and look at memory"),
        ("show", "print the tables of a record"),
        ("judge", "judge a record; 1 if a bound was missed"),
    ):
        command = commands.add_parser(name, help=what)
        if name in _READERS:
            command.add_argument("record", type=Path)
            continue
        command.add_argument("--json", type=Path, help="write the record")
        if name == "soak":
            command.add_argument("--seconds", type=float, default=60.0)
            command.set_defaults(rounds=1)
            continue
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--quick", action="store_true", help="a fifth of it")
        command.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW")
        command.add_argument(
            "--loads", nargs="+", choices=[*SCENARIOS, *PROOFS], metavar="LOAD"
        )
    return parser


def _plan(options: argparse.Namespace) -> list[tuple[Scenario, list[str]]]:
    if options.command == "soak":
        return []
    chosen = options.rows or list(ROWS)
    names = None if options.loads is None else [*filter(_is_load, options.loads)]
    loads = scenarios(names, options.quick)
    if options.command == "run":
        return [(load, chosen) for load in loads]
    needed = [(load, rows_of(load.name, BOUNDS)) for load in loads]
    return [(load, [r for r in rows if r in chosen]) for load, rows in needed if rows]


def _is_load(name: str) -> bool:
    return name in SCENARIOS


def _proofs(options: argparse.Namespace) -> list[Proof]:
    if options.command == "soak":
        soak, seconds = PROOFS["soak-bare"], options.seconds
        count = round(soak.count * seconds / soak.seconds)
        return [replace(soak, seconds=seconds, count=count)]
    if options.command == "run":
        return []
    wanted = options.loads or list(PROOFS)
    return [
        proof
        for name, proof in PROOFS.items()
        if name in wanted and rows_of(name, BOUNDS)
    ]


def _say(text: str) -> None:
    print(f"{time.strftime('%X')} {text}", flush=True)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    record = run(
        _plan(options),
        options.rounds,
        say=_say,
        proofs=_proofs(options),
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def main() -> int:
    """Run a command; 1 if a bound was missed."""
    options = _parser().parse_args()
    # Ends the servers and the rows, too, when somebody ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.command in _READERS:
        record = json.loads(options.record.read_text(encoding="utf-8"))
    else:
        record = _measured(options)
    print(f"\n{table(record)}\n")
    if options.command in {"run", "show"}:
        return 0
    soaked = "soak-bare" in record["runs"]
    bounds = [*SOAK] if options.command == "soak" else [*BOUNDS, *SOAK * soaked]
    verdicts = list(judge(record, bounds))
    print("\n".join(map(str, verdicts)))
    return int(not all(verdict.held for verdict in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
