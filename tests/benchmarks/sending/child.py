"""A process that runs one row whenever its parent asks, and answers in JSON."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ..control import Control, importable
from ..serving import serve, versions
from .case import Case
from .rows import ROWS
from .scenario import Scenario

if TYPE_CHECKING:
    from .rows import Row

__all__ = ("main",)


def _hello(name: str) -> dict[str, Any]:
    row = ROWS[name]
    missing = importable(row.needs)
    if missing:
        return {"skip": f"no module {missing}"}
    if row.name == "ours-bulk":
        from celery import Task

        import celery_async_bridge

        celery_async_bridge.install()
        if not hasattr(Task, "amap_delay"):
            return {"skip": "this version has no amap_delay"}
    return {"versions": versions()}


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


def _answer(name: str, order: dict[str, Any], control: Control) -> dict[str, Any]:
    load = Scenario(**order["load"])
    queue = f"bench-{token_hex(4)}"
    case = Case(load, order["port"], order["amqp"], queue, control)
    return asyncio.run(_run(ROWS[name], case))


def main() -> None:
    """Answer orders from stdin until it ends."""
    serve(_hello, _answer)


if __name__ == "__main__":
    main()
