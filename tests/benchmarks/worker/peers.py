"""The asyncio pool beside other workers that run coroutines, and beside threads.

    python -m tests.benchmarks.worker.peers [ROW ...] [--tasks 3000] [--rounds 3]

Three loads on a full queue: tasks that do nothing, tasks that sleep for 10 ms, and as
many at once as may be, for the memory of one in flight. Each worker counts inside its
own process, from its first task to its last one, and is thrown away; the rounds
alternate between the workers. `--python arq=/path/to/python` runs a row with another
interpreter. RabbitMQ is the local one, with the credentials of a new installation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.benchmarks.control import importable, own_server
from tests.benchmarks.worker.peer_rows import ROWS, Case, start

_ROOT = Path(__file__).parents[3]
_AMQP = "amqp://guest:guest@127.0.0.1:5672//"
_WITHIN = 180.0
#: How many tasks run at once where the general number serves a worker badly: saq opens
#: a connection for each, and a thousand of them do not get going.
_DRAINS = {"celery-threads": 100, "saq": 100}
_HOLDS = {"saq": 100}


def measure(row: str, python: str, case: Case) -> dict[str, Any]:
    """Run one worker in a process of its own; return what its tally printed."""
    command = [python, "-m", __spec__.name, "--child", row, json.dumps(asdict(case))]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=_WITHIN
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {_WITHIN:.0f} s"}
    finally:
        if ROWS[row].broker == "RabbitMQ":
            _delete(case.amqp, case.name)
    for line in done.stdout.splitlines():
        if line.startswith('{"seconds"'):
            found: dict[str, Any] = json.loads(line)
            return found
    return {"error": (done.stderr.strip().splitlines() or ["no figures"])[-1]}


def _delete(url: str, name: str) -> None:
    from kombu import Connection

    with Connection(url) as connection:
        for kind in ("queue_delete", "exchange_delete"):
            channel = connection.channel()
            with suppress(*connection.channel_errors):
                getattr(channel, kind)(name)


def loads(base: Case, row: str) -> dict[str, Case]:
    """Return the loads for a worker."""
    drained = replace(base, concurrency=_DRAINS.get(row, base.concurrency))
    held = _HOLDS.get(row, base.concurrency)
    sleeping = replace(base, tasks=held, concurrency=held, seconds=3.0)
    return {"noop": drained, "nap": replace(drained, seconds=0.01), "held": sleeping}


def report(row: str, found: dict[str, list[dict[str, Any]]], tasks: int) -> str:
    """Return a line with the medians of a worker."""

    def median(load: str, key: str) -> float:
        runs = [run[key] for run in found[load] if run.get(key) is not None]
        return statistics.median(runs) if runs else float("nan")

    words = [f"{row:15} {ROWS[row].broker:9}"]
    for load in ("noop", "nap"):
        rate, cost = tasks / median(load, "seconds"), median(load, "cpu") / tasks * 1e6
        words.append(f"{load} {rate:6.0f}/s {cost:5.0f} us")
    count = found["held"][0]["concurrency"]
    each = median("held", "bytes") / 1024 / count
    words.append(f"{each:5.1f} KiB for each of {count}")
    runs = [run for load in found.values() for run in load]
    words += sorted({run["error"] for run in runs if "error" in run})
    return " | ".join(words)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--python", action="append", default=[], metavar="ROW=PATH")
    given = parser.parse_args()
    pythons = dict(one.split("=", 1) for one in given.python)
    rows = given.rows or list(ROWS)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with own_server() as port:
        base = Case(
            f"redis://127.0.0.1:{port}/0",
            _AMQP,
            "",
            given.tasks,
            0.0,
            given.concurrency,
        )
        for number in range(given.rounds):
            for row in rows[:: -1 if number % 2 else 1]:
                for load, case in loads(base, row).items():
                    case = replace(case, name=f"bench-{token_hex(4)}")
                    figures = measure(row, pythons.get(row, sys.executable), case)
                    figures["concurrency"] = case.concurrency
                    found.setdefault(row, {}).setdefault(load, []).append(figures)
    for row in rows:
        print(report(row, found[row], given.tasks))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        missing = importable(ROWS[sys.argv[2]].needs)
        if missing:
            raise SystemExit(f"no module {missing}")
        start(sys.argv[2], Case(**json.loads(sys.argv[3])))
    else:
        main()
