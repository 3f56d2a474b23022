"""A process that runs one row whenever its parent asks, and answers in JSON.

One row, one process: some libraries change others when they are imported, and the
bridge can be installed only where it is measured. It lives for the whole run, so that
rounds of different rows can be interleaved without starting anything in between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from secrets import token_hex
from typing import Any

from .case import Case
from .control import Control, importable
from .rows import ROWS, Row
from .scenario import Scenario

__all__ = ("main",)

_PACKAGES = (
    *("celery", "kombu", "redis", "hiredis", "greenlet", "asgiref", "coredis"),
    *("celery-async-bridge", "saq", "streaq", "arq", "taskiq", "taskiq-redis"),
    *("taskiq-aio-pika", "aio-celery", "aio-pika"),
)


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _hello(row: Row) -> dict[str, Any]:
    missing = importable(row.needs)
    if missing:
        return {"skip": f"no module {missing}"}
    if row.name == "ours-bulk":
        from celery import Task

        import celery_async_bridge

        celery_async_bridge.install()
        if not hasattr(Task, "amap_delay"):
            return {"skip": "this version has no amap_delay"}
    return {"versions": _versions()}


async def _run(row: Row, case: Case) -> dict[str, Any]:
    from .measure import measure

    before = case.control.clients()
    async with row.make(case) as sender:
        measured = await measure(sender, case.load, case.control)
        figures: dict[str, Any] = measured.to_dict()
        figures["connections"] = case.control.clients() - before
        if row.family == "ours":
            from .rows_celery import tier

            figures["tier"] = tier(case)
        return figures


def _answer(row: Row, order: dict[str, Any], control: Control) -> dict[str, Any]:
    load = Scenario(**order["load"])
    name = f"bench-{token_hex(4)}"
    case = Case(load, order["port"], order["amqp"], name, control)
    try:
        return asyncio.run(_run(row, case))
    except Exception as exc:
        # A row that fails must not end the run of all others.
        return {"error": f"{type(exc).__name__}: {exc}"[:300]}
    finally:
        control.ask("FLUSHALL")


def main() -> None:
    """Answer orders from stdin until it ends."""
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    # What a library prints must not mix with the answers.
    os.dup2(2, 1)
    row = ROWS[sys.argv[1]]
    control = Control(int(sys.argv[2]))
    print(json.dumps(_hello(row)), file=answers, flush=True)
    for line in sys.stdin:
        answer = _answer(row, json.loads(line), control)
        print(json.dumps(answer), file=answers, flush=True)
    control.close()


if __name__ == "__main__":
    main()
