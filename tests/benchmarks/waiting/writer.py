"""A process that stores the results of given tasks, and says when it was ready.

    python -m tests.benchmarks.waiting.writer PORT KIND

It reads one line of ids, says "ready", begins at the next line, and says when it had
stored the last one, by the clock that all processes of a machine share. KIND is "stock"
for Celery's backend, one result after the other, or "quick" for many in one write.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from .answers import Store
from .stock import ANSWER, make_app

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("main",)


def _storing(kind: str, port: int) -> Callable[[list[str]], None]:
    if kind == "quick":
        return Store(port).store
    backend = make_app(f"redis://127.0.0.1:{port}/0", "none").backend

    def store(ids: list[str]) -> None:
        for one in ids:
            backend.store_result(one, ANSWER, "SUCCESS")

    return store


def main() -> None:
    """Store one line of results."""
    store = _storing(sys.argv[2], int(sys.argv[1]))
    print("ready", flush=True)
    ids = sys.stdin.readline().split()
    print("loaded", flush=True)
    sys.stdin.readline()
    store(ids)
    print(time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
