"""What `celery worker -P asyncio` must hold, measured; 1 if something does not.

    python -m tests.benchmarks.worker.must_hold [--rounds 3] [redis://...]

Beside `tests.interop.worker`, which holds what is no matter of time, and `kills`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from typing import Any

from tests.benchmarks.worker.__main__ import Row, drain, measure, running

#: Seconds for 500 naps of half a second, 500 of them at once.
LONG = 3.0
#: Naps of 10 ms: the throughput of 100 threads times so much.
FASTER = 1.3
#: Microseconds of CPU time for a task, above what the pool of threads takes.
SHARE = 250.0

NAPS = (Row("asyncio", 1000, "anap"), Row("threads", 100, "nap"))


def long_naps(url: str, rounds: int) -> float:
    """Return the seconds that 500 naps take: the median of all rounds."""
    import redis

    client: Any = redis.Redis.from_url(url)
    row = Row("asyncio", 500, "long")
    took: list[float] = []
    with running(url, row) as (app, process):
        for _ in range(rounds):
            rate, _cost = drain(app, client, process, row, 500)
            took.append(float(500 / rate))
    return statistics.median(took)


def share(rounds: int) -> float:
    """Return the microseconds that the asyncio pool takes more than that of threads."""
    costs: dict[str, list[float]] = {"asyncio": [], "threads": []}
    for _ in range(rounds):
        for pool, found in costs.items():
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.worker.share", pool],
                capture_output=True,
                text=True,
                check=True,
            )
            found.append(float(done.stdout.split()[2]))
    return statistics.median(costs["asyncio"]) - statistics.median(costs["threads"])


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="redis://127.0.0.1:6379/15")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=3000)
    given = parser.parse_args()
    seconds = long_naps(given.url, given.rounds)
    ours, theirs = measure(given.url, NAPS, given.tasks, given.rounds).values()
    extra = share(given.rounds)
    print(f"500 naps of 0.5 s, -c 500: {seconds:.2f} s (bound: {LONG} s)")
    print(
        f"naps of 10 ms: -P asyncio -c 1000 {ours[0]:.0f}/s at {ours[1]:.2f} ms CPU, "
        f"-P threads -c 100 {theirs[0]:.0f}/s at {theirs[1]:.2f} ms: "
        f"{ours[0] / theirs[0]:.2f} times as fast (bound: {FASTER})"
    )
    print(f"the pool's own share: {extra:.0f} us above threads (bound: {SHARE:.0f})")
    held = (
        seconds < LONG,
        ours[0] >= FASTER * theirs[0],
        ours[1] < theirs[1],
        extra < SHARE,
    )
    return int(not all(held))


if __name__ == "__main__":
    raise SystemExit(main())
