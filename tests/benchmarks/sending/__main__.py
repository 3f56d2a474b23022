"""Ways to send, measured side by side.

    python -m tests.benchmarks.sending run [--quick] [--json FILE] [--plot FILE]
    python -m tests.benchmarks.sending must-hold [--quick] [--json FILE]
    python -m tests.benchmarks.sending show FILE [--plot FILE]
    python -m tests.benchmarks.sending judge FILE

It starts a Redis server of its own. A row whose package is not installed is left out;
`--python arq=/path/to/python` runs a row with another interpreter, for packages that
do not fit beside Celery's (arq wants redis-py below 6).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.servers import LOCAL_AMQP, listens

from ..bounds import judge, rows_of
from .harness import run
from .must_hold import BOUNDS
from .plot import plot
from .report import table
from .rows import ROWS
from .scenario import SCENARIOS, Scenario, scenarios

__all__ = ("main",)

#: Commands that measure nothing.
_READERS = frozenset({"show", "judge"})


def _pair(text: str) -> tuple[str, str]:
    row, equals, python = text.partition("=")
    if not equals or row not in ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROW=PYTHON")
    return row, python


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.sending",
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
        command.add_argument("--plot", type=Path, help="write a picture")
        command.add_argument("--plot-load", choices=SCENARIOS, metavar="LOAD")
        if name in _READERS:
            command.add_argument("record", type=Path)
            continue
        command.add_argument("--json", type=Path, help="write the record")
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--quick", action="store_true", help="a fifth of it")
        command.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW")
        command.add_argument("--loads", nargs="+", choices=SCENARIOS, metavar="LOAD")
        command.add_argument("--amqp", default=LOCAL_AMQP, help="RabbitMQ")
        command.add_argument(
            "--python", type=_pair, action="append", default=[], metavar="ROW=PYTHON"
        )
    return parser


def _plan(options: argparse.Namespace) -> list[tuple[Scenario, list[str]]]:
    chosen = options.rows or list(ROWS)
    loads = scenarios(options.loads, options.quick)
    if options.command == "run":
        return [(load, chosen) for load in loads]
    needed = [(load, rows_of(load.name, BOUNDS)) for load in loads]
    return [(load, [r for r in rows if r in chosen]) for load, rows in needed if rows]


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    record = run(
        _plan(options),
        options.rounds,
        amqp=options.amqp if listens(options.amqp, 5672) else "",
        pythons=dict(options.python),
        say=lambda text: print(f"{time.strftime('%X')} {text}", flush=True),
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def main() -> int:
    """Run a command; 1 if a bound was missed."""
    options = _parser().parse_args()
    # Ends the server and the rows, too, when somebody ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.command in _READERS:
        record = json.loads(options.record.read_text(encoding="utf-8"))
    else:
        record = _measured(options)
    print(f"\n{table(record)}\n")
    if options.plot:
        plot(record, options.plot, options.plot_load or next(iter(record["runs"])))
    if options.command in {"run", "show"}:
        return 0
    verdicts = list(judge(record, BOUNDS))
    print("\n".join(map(str, verdicts)))
    return int(not all(verdict.held for verdict in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
