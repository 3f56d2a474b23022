"""Several processes, each with a loop of its own, the way Celery starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.interop.processes import ROOT
from tests.interop.worker.test_control import until
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

NAMES = ("one", "two")


@contextmanager
def multi(site: Site, home: Path) -> Iterator[None]:
    """Run `celery multi` workers until the block ends."""
    files = [f"--pidfile={home}/%n.pid", f"--logfile={home}/%n.log"]

    def call(command: str, *options: str) -> None:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "celery",
                "multi",
                command,
                *NAMES,
                *files,
                *options,
            ],
            cwd=ROOT,
            env=site.env,
            check=True,
            capture_output=True,
            timeout=60,
        )

    app = ["-A", "tests.interop.worker.pool_app"]
    try:
        call("start", *app, "-P", "asyncio", "-c", "20", "-l", "WARNING")
        yield
    finally:
        pids = [int(file.read_text()) for file in home.glob("*.pid")]
        with suppress(subprocess.SubprocessError):
            call("stopwait", "--sigterm=TERM")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_celery_multi(here: Site, tmp_path: Path) -> None:
    nap = here.app.tasks["pool.nap"]
    with multi(here, tmp_path):
        until(lambda: len(here.app.control.ping(timeout=10, limit=2)) == len(NAMES))
        # More than one may hold at once, prefetched ones included.
        sent = [nap.delay(600) for _ in range(120)]

        def running() -> dict[str, int]:
            found = here.app.control.inspect(timeout=10, limit=2).active() or {}
            return {name: len(tasks) for name, tasks in found.items()}

        until(lambda: set(running().values()) == {20} and len(running()) == 2)
        end = time.monotonic() + 60
        for result in sent:
            result.revoke(terminate=True)
        while any(running().values()):
            assert time.monotonic() < end
