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
import signal
import sys
from pathlib import Path
from typing import Any

from tests.servers import LOCAL_AMQP, listens

from ..command import READERS, commands, listed, needed, read, save, say, verdict
from .harness import run
from .must_hold import BOUNDS
from .plot import plot
from .report import table
from .rows import ROWS
from .scenario import SCENARIOS, Scenario, scenarios

__all__ = ("main",)


def _pair(text: str) -> tuple[str, str]:
    row, equals, python = text.partition("=")
    if not equals or row not in ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROW=PYTHON")
    return row, python


def _parser() -> argparse.ArgumentParser:
    parser, found = commands("sending", __doc__)
    for name, command in found.items():
        command.add_argument("--plot", type=Path, help="write a picture")
        command.add_argument("--plot-load", choices=SCENARIOS, metavar="LOAD")
        if name in READERS:
            continue
        listed(command, ROWS, SCENARIOS)
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
    return needed(loads, BOUNDS, chosen)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    record = run(
        _plan(options),
        options.rounds,
        amqp=options.amqp if listens(options.amqp, 5672) else "",
        pythons=dict(options.python),
        say=say,
    )
    save(record, options.json)
    return record


def main() -> int:
    """Run a command; 1 if a bound was missed."""
    options = _parser().parse_args()
    # Ends the server and the rows, too, when somebody ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reads = options.command in READERS
    record = read(options.record) if reads else _measured(options)
    print(f"\n{table(record)}\n")
    if options.plot:
        plot(record, options.plot, options.plot_load or next(iter(record["runs"])))
    if options.command in {"run", "show"}:
        return 0
    return verdict(record, BOUNDS)


if __name__ == "__main__":
    raise SystemExit(main())
