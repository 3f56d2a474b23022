"""Who answers: a process of its own, started for a load and ended after it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("answering", "process")

_ROOT = Path(__file__).parents[3]
_ENDS_WITHIN = 20.0


@contextmanager
def process(words: list[str], **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that says "ready", until the block ends.

    Raises:
        RuntimeError: it ended before it was ready.
    """
    started = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **environ},
    )
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        while (line := started.stdout.readline()) != "ready\n":
            if not line:
                raise RuntimeError(f"{' '.join(words[1:4])} ended ({started.wait()})")
        yield started
    finally:
        started.terminate()
        try:
            # Reads what it says at last: a full pipe would keep it from ending.
            started.communicate(timeout=_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def answering(server: str, port: int, queue: str) -> Iterator[None]:
    """Have "bare", "prefork" or "threads" answer what is sent to a queue.

    For "own" a stock worker with threads does, for rows that have none of their own.
    Others are nobody: what is stored is stored by the row.
    """
    if server not in {"bare", "prefork", "threads", "own"}:
        yield
        return
    if server == "bare":
        module = f"{__package__}.responder"
        words = [sys.executable, "-m", module, str(port), queue]
    else:
        words = [sys.executable, "-m", "celery", "--app", f"{__package__}.stock:app"]
        pool = "threads" if server == "own" else server
        words += ["--quiet", "worker", "--pool", pool, "--loglevel", "ERROR"]
    url = f"redis://127.0.0.1:{port}/0"
    with process(words, BENCH_REDIS=url, BENCH_QUEUE=queue):
        yield
