"""Start stock processes, wait until they answer, and end them by pid."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def environment(broker: str, backend: str, prefix: str) -> dict[str, str]:
    """The environment of a process that runs `stock_app`."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CELERY_")},
        "STOCK_BROKER": broker,
        "STOCK_BACKEND": backend,
        "STOCK_PREFIX": prefix,
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def stock_worker(
    app: Any,
    pool: str,
    env: Mapping[str, str],
    log: Path,
    *,
    module: str = "tests.interop.stock_app",
    options: Sequence[str] = ("-c", "1", "--without-heartbeat"),
    node: str = "interop",
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `celery worker` until the block ends; it answers a ping when it begins."""
    name = f"{app.conf.task_default_queue}@{node}"
    command = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", pool]
    command += ["-n", name, "-l", "WARNING", "--without-gossip", "--without-mingle"]
    command += options
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(env), stdout=output, stderr=output
        )
        try:
            _wait_until_ready(app, name, process, log)
            yield process
        finally:
            _end(app, name, process)


def _wait_until_ready(
    app: Any, name: str, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the worker has ended:\n{log.read_text()}")
        if app.control.ping(destination=[name], timeout=0.5):
            return
    raise RuntimeError(f"the worker does not answer:\n{log.read_text()}")


def _end(app: Any, name: str, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    # A worker without a heartbeat sees that it shall end when something happens.
    app.control.broadcast("ping", destination=[name])
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(15)


def forget(url: str, prefix: str) -> None:
    """Remove what bears `prefix` in Redis; RabbitMQ's virtual host goes as a whole."""
    if not url.startswith("redis"):
        return
    import redis

    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{prefix}*", count=1000):
            client.delete(key)
