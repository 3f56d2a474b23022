"""Upstream's integration tests of what a worker does, with the asyncio pool.

    python -m tests.upstream.pools [FILE ...]

They run three times: with stock Celery and `-P threads`, with `-P asyncio`, and with
`-P asyncio` and their tasks made coroutine functions. It starts a Redis server of its
own. What fails only with the asyncio pool fails the command, once it has failed twice.
It takes three quarters of an hour, so it is no test of the suite.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from tests.benchmarks.control import own_server
from tests.upstream.suites import Mode, Outcome, Workshop, files_of

__all__ = ("main",)

FILES = tuple(
    f"t/integration/test_{name}.py" for name in ("tasks", "worker", "inspect", "canvas")
)
_LIMIT = 3600.0


@dataclass(frozen=True)
class Setup:
    """A pool, and the kind of bodies that its tasks have."""

    pool: str
    bodies: str
    mode: Mode

    def run(self, workshop: Workshop, files: tuple[str, ...]) -> Outcome:
        """Run the tests in these files."""
        os.environ |= {
            "BRIDGE_UPSTREAM_POOL": self.pool,
            "BRIDGE_UPSTREAM_BODIES": self.bodies,
        }
        return workshop.run(
            "celery", files, self.mode, timeout=_LIMIT, plugins=("pool_plugin",)
        )


STOCK = Setup("threads", "sync", "plain")
OURS = (Setup("asyncio", "sync", "bridge"), Setup("asyncio", "async", "bridge"))


def main(files: tuple[str, ...]) -> int:
    """Run them; 1 if a test fails that passes with stock Celery and `-P threads`."""
    workshop = Workshop()
    workshop.prepare()
    # Without it there is no native driver.
    workshop._pip("install", "hiredis>=3")
    # One of the tests runs `celery worker`.
    os.environ["PATH"] = f"{workshop.python.parent}{os.pathsep}{os.environ['PATH']}"
    failed = False
    with own_server() as port:
        url = f"redis://127.0.0.1:{port}"
        os.environ |= {"TEST_BROKER": f"{url}/0", "TEST_BACKEND": f"{url}/0"}
        os.environ["REDIS_PORT"] = str(port)
        stock = STOCK.run(workshop, files)
        print(f"threads: {stock.passed} of {stock.collected} pass", flush=True)
        for setup in OURS:
            found = setup.run(workshop, files)
            new = found.failed - stock.failed
            if new:
                new &= setup.run(workshop, files_of(new)).failed
            print(f"{setup.pool}, {setup.bodies} bodies: {found.passed} pass")
            print(*sorted(new), sep="\n", flush=True)
            failed = failed or bool(new)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(tuple(sys.argv[1:]) or FILES))
