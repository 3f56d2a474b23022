"""Workers are killed while they run tasks that are acknowledged late; none is lost.

    python -m tests.benchmarks.worker.kills [--kills 50] amqp://... redis://...

The workers are killed with SIGKILL, each after a random time; then one is left alone
until every task has left its line.
"""

from __future__ import annotations

import argparse
import random
import secrets
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.processes import environment, forget, stock_worker
from tests.interop.worker.pool_app import make_app

MODULE = "tests.interop.worker.pool_app"


def main() -> None:
    """Run it, and print how often tasks ran."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("broker")
    parser.add_argument("backend")
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    given = parser.parse_args()
    prefix = f"kills-{secrets.token_hex(4)}"
    app = make_app(given.broker, given.backend, prefix)
    with TemporaryDirectory() as home:
        record, log = Path(home) / "record", Path(home) / "log"
        record.touch()
        env = environment(given.broker, given.backend, prefix)
        env["POOL_RECORD"] = str(record)

        def done() -> Counter[str]:
            return Counter(record.read_text().split())

        for number in range(given.tasks):
            # Long enough that the last worker to be killed has work, too.
            app.tasks["pool.late"].delay(number, random.uniform(0, 0.2))
        for number in range(given.kills):
            with stock_worker(
                app, "asyncio", env, log, module=MODULE, options=("-c", "10")
            ) as process:
                time.sleep(random.uniform(0, 1))
                process.kill()
                process.wait()
            print(f"kill {number + 1}: {len(done())} done", flush=True)
        with stock_worker(
            app, "asyncio", env, log, module=MODULE, options=("-c", "100")
        ):
            end = time.monotonic() + 300
            while len(done()) < given.tasks and time.monotonic() < end:
                time.sleep(0.2)
        found = done()
    app.close()
    forget(given.broker, prefix)
    forget(given.backend, prefix)
    again = sum(1 for times in found.values() if times > 1)
    lost = given.tasks - len(found)
    print(f"{given.tasks} tasks, {given.kills} kills: {lost} lost, {again} ran again")


if __name__ == "__main__":
    main()
