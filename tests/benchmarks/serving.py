"""The other end of a row's process: it answers orders in JSON.

It lives for the whole run, so that rounds of different rows can be interleaved without
starting anything in between. Standard library only, but for what a row needs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .control import Control

__all__ = ("serve", "versions")

_PACKAGES = (
    *("celery", "kombu", "redis", "hiredis", "greenlet", "asgiref", "coredis"),
    *("celery-async-bridge", "saq", "streaq", "arq", "taskiq", "taskiq-redis"),
    *("taskiq-aio-pika", "aio-celery", "aio-pika"),
)


def versions() -> dict[str, str]:
    """Versions of Python and of what is installed beside it."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def serve(
    hello: Callable[[str], dict[str, Any]],
    answer: Callable[[str, dict[str, Any], Control], dict[str, Any]],
) -> None:
    """Answer orders from stdin until it ends.

    Arguments:
        hello: says of a row what is said once.
        answer: carries out an order.
    """
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    # What a library prints must not mix with the answers.
    os.dup2(2, 1)
    row = sys.argv[1]
    control = Control(int(sys.argv[2]))
    print(json.dumps(hello(row)), file=answers, flush=True)
    for line in sys.stdin:
        try:
            figures = answer(row, json.loads(line), control)
        except Exception as exc:
            # A row that fails must not end the run of all others.
            figures = {"error": f"{type(exc).__name__}: {exc}"[:300]}
        finally:
            control.ask("FLUSHALL")
        print(json.dumps(figures), file=answers, flush=True)
    control.close()
