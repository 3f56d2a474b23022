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

import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..bounds import rows_of
from ..command import READERS, commands, listed, needed, read, save, say, verdict
from .harness import run
from .must_hold import BOUNDS, SOAK
from .report import table
from .rows import ROWS
from .scenario import PROOFS, SCENARIOS, Proof, Scenario, scenarios

if TYPE_CHECKING:
    import argparse

__all__ = ("main",)


def _parser() -> argparse.ArgumentParser:
    soak = "wait for 100,000 results in a minute, and look at memory"
    parser, found = commands("waiting", __doc__, soak=soak)
    found["soak"].add_argument("--seconds", type=float, default=60.0)
    found["soak"].set_defaults(rounds=1)
    for name in ("run", "must-hold"):
        listed(found[name], ROWS, [*SCENARIOS, *PROOFS])
    return parser


def _plan(options: argparse.Namespace) -> list[tuple[Scenario, list[str]]]:
    if options.command == "soak":
        return []
    chosen = options.rows or list(ROWS)
    names = None if options.loads is None else [*filter(_is_load, options.loads)]
    loads = scenarios(names, options.quick)
    if options.command == "run":
        return [(load, chosen) for load in loads]
    return needed(loads, BOUNDS, chosen)


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


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    record = run(
        _plan(options),
        options.rounds,
        say=say,
        proofs=_proofs(options),
    )
    save(record, options.json)
    return record


def main() -> int:
    """Run a command; 1 if a bound was missed."""
    options = _parser().parse_args()
    # Ends the servers and the rows, too, when somebody ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reads = options.command in READERS
    record = read(options.record) if reads else _measured(options)
    print(f"\n{table(record)}\n")
    if options.command in {"run", "show"}:
        return 0
    soaked = "soak-bare" in record["runs"]
    bounds = [*SOAK] if options.command == "soak" else [*BOUNDS, *SOAK * soaked]
    return verdict(record, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
