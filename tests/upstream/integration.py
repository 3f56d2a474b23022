"""Upstream's integration tests, as they are and with the awaitable twins.

    python -m tests.upstream.integration [FILE ...]

It starts a Redis server of its own. What fails only with the twins fails the command,
once it has failed twice. It takes a quarter of an hour, so it is no test of the suite.
"""

from __future__ import annotations

import os
import sys

from tests.benchmarks.control import own_server
from tests.upstream.suites import Workshop, files_of

__all__ = ("main",)

#: Those about what a client calls; the others are about a worker or a broker.
FILES = tuple(
    f"t/integration/test_{name}.py"
    for name in (
        "canvas",
        "group_chains",
        "tasks",
        "inspect",
        "redis_backend",
        "cache_backend",
    )
)
_LIMIT = 3600.0


def main(files: tuple[str, ...]) -> int:
    """Run them; 1 if a test fails that passes without the bridge."""
    workshop = Workshop()
    workshop.prepare()
    # Without it there is no native driver.
    workshop._pip("install", "hiredis>=3")
    with own_server() as port:
        url = f"redis://127.0.0.1:{port}"
        os.environ |= {"TEST_BROKER": f"{url}/0", "TEST_BACKEND": f"{url}/0"}
        twins = workshop.run(
            "celery", files, "bridge", timeout=_LIMIT, plugins=("twins_plugin",)
        )
        again = files_of(twins.failed)
        plain = workshop.run("celery", again, "plain", timeout=_LIMIT)
        new = twins.failed - plain.failed
        if new:
            twice = workshop.run(
                "celery",
                files_of(new),
                "bridge",
                timeout=_LIMIT,
                plugins=("twins_plugin",),
            )
            new &= twice.failed
    print(
        f"{twins.collected} collected, {twins.passed} passed; fail without the bridge:"
    )
    print("\n".join(sorted(twins.failed & plain.failed)))
    print("fail with the twins only:")
    print("\n".join(sorted(new)))
    return int(bool(new))


if __name__ == "__main__":
    raise SystemExit(main(tuple(sys.argv[1:]) or FILES))
