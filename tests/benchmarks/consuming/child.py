"""A process that runs one row whenever its parent asks, and answers in JSON."""

from __future__ import annotations

import gc
import time
from typing import Any

from ..control import Control, importable
from ..serving import serve, versions
from .loads import Load, fill, left
from .rows import ROWS

__all__ = ("main",)


def _hello(name: str) -> dict[str, Any]:
    missing = importable(("kombu", "redis", "hiredis", "celery_async_bridge"))
    return {"skip": f"no module {missing}"} if missing else {"versions": versions()}


def _answer(name: str, order: dict[str, Any], control: Control) -> dict[str, Any]:
    load = Load(**order["load"])
    url = load.url(order["port"])
    marks: list[tuple[float, float, float]] = []

    def mark() -> None:
        gc.collect()
        marks.append((control.cpu(), time.process_time(), time.perf_counter()))

    if load.kind == "drain":
        fill(url, load)
    figures = ROWS[name].run(load, url, mark, mark)
    if marks:
        server, cpu, wall = (b - a for a, b in zip(*marks, strict=True))
        figures["server"] = server / load.count
        figures["cpu"] = cpu / load.count
        figures["rate"] = load.count / wall
    if load.kind == "drain":
        rest = left(url, load, control.ask)
        if any(rest):
            raise RuntimeError(f"not all was consumed and acked: {rest}")
    return figures


def main() -> None:
    """Answer orders from stdin until it ends."""
    serve(_hello, _answer)


if __name__ == "__main__":
    main()
