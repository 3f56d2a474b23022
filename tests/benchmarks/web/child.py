"""A process that asks the server of one row whenever its parent says so."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..control import Control, importable
from ..serving import serve, versions
from .clients import ask, storm
from .rows import ROWS, Row
from .scenario import Load

__all__ = ("main",)

_NEEDS = ("celery", "django", "redis", "uvicorn")
#: A client that has warmed up waits for the slowest, whose connection stays open.
_UVICORN = ("--log-level", "warning", "--timeout-keep-alive", "600")


def _hello(name: str) -> dict[str, Any]:
    missing = importable(_NEEDS)
    return {"skip": f"no module {missing}"} if missing else {"versions": versions()}


@contextmanager
def _server(row: Row, broker: int) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        words = f"uvicorn {__package__}.site:application --fd {listener.fileno()}"
        process = subprocess.Popen(
            [sys.executable, "-m", *words.split(), *_UVICORN],
            env={
                **os.environ,
                "BENCH_BROKER": f"redis://127.0.0.1:{broker}/0",
                "BENCH_BRIDGE": "1" if row.installs else "",
            },
            pass_fds=[listener.fileno()],
        )
        port: int = listener.getsockname()[1]
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _answer(name: str, order: dict[str, Any], control: Control) -> dict[str, Any]:
    row, load = ROWS[name], Load(**order["load"])
    with _server(row, order["broker"]) as port:
        path = f"{row.name}/{load.sends}"
        figures = asyncio.run(storm(port, path, load.clients, load.seconds))
        if row.installs:
            figures |= asyncio.run(ask(port, "tier"))
    sent, answers = int(control.ask("LLEN", "bench")), figures.pop("answers")
    expected = answers * load.sends * row.sends
    if sent != expected:
        raise RuntimeError(f"{sent} messages, not {expected}")
    return figures


def main() -> None:
    """Answer orders from stdin until it ends."""
    serve(_hello, _answer)


if __name__ == "__main__":
    main()
