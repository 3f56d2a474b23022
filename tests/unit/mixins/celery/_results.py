"""Apps with each kind of result backend, and a writer that works beside the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from celery import Celery

#: What upstream leaves to the garbage collector, and what it calls in redis-py.
QUIET = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

#: What every test of a stored result runs on.
STORES = ("memory", "redis", "file", "sqlite")


class Writer:
    """Stores results from a thread of its own, as a worker would."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._threads: list[threading.Thread] = []

    def later(
        self, task_id: str, value: Any, state: str = "SUCCESS", delay: float = 0.15
    ) -> None:
        """Store one state after `delay` seconds."""
        self.series([(delay, task_id, value, state)])

    def series(self, steps: Iterable[tuple[float, str, Any, str]]) -> None:
        """Store several states, each after a delay from the one before."""

        def run() -> None:
            for delay, task_id, value, state in steps:
                time.sleep(delay)
                self._app.backend.store_result(task_id, value, state)

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait for all writes."""
        for thread in self._threads:
            thread.join(30)


def outcome(call: Any) -> tuple[str, Any]:
    """What a sync call ends with, in a comparable form."""
    try:
        return "value", call()
    except Exception as exc:
        return "error", (type(exc), str(exc))


async def aoutcome(awaitable: Any) -> tuple[str, Any]:
    """What an awaitable ends with, in a comparable form."""
    try:
        return "value", await awaitable
    except Exception as exc:
        return "error", (type(exc), str(exc))
