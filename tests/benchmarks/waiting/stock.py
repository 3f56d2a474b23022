# mypy: disable-error-code="untyped-decorator,attr-defined"
"""The app of all rows that are Celery, and of the stock workers that answer them.

A worker finds in its environment where its servers are.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

__all__ = ("ANSWER", "make_app")

#: What every task returns.
ANSWER = 1


def make_app(url: str, queue: str) -> Any:
    """An app with one task, `noop`, which has a result."""
    made: Any = Celery("bench", set_as_current=False, broker=url, backend=url)
    made.conf.update(task_default_queue=queue, broker_connection_retry_on_startup=True)

    @made.task(name="noop", shared=False)
    def noop(i: int) -> int:
        return ANSWER

    made.noop = noop
    return made


def _ready(**_: Any) -> None:
    # Not `print`, which the worker redirects to its log.
    os.write(1, b"ready\n")


if "BENCH_REDIS" in os.environ:
    app = make_app(os.environ["BENCH_REDIS"], os.environ["BENCH_QUEUE"])
    signals.worker_ready.connect(_ready)
