"""Clients that ask a web server again as soon as it has answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..record import quantile

__all__ = ("ask", "storm")

Ask = Callable[[str], Awaitable[bytes]]
#: Requests of each client before those that count.
_WARM = 5


class _Client:
    """One connection that is kept open."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str) -> bytes:
        """Return the body of an answer.

        Raises:
            RuntimeError: the status was not 200.
        """
        self._writer.write(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await self._reader.readexactly(int(length))
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.partition(b"\r\n")[0].decode())
        return body

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def _client(port: int) -> _Client:
    return _Client(*await asyncio.open_connection("127.0.0.1", port))


async def ask(port: int, path: str) -> Any:
    """Ask once, for something in JSON."""
    client = await _client(port)
    try:
        return json.loads(await client.get(path))
    finally:
        await client.close()


async def storm(port: int, path: str, number: int, seconds: float) -> dict[str, Any]:
    """Have many clients ask for some seconds.

    Returns:
        Answers per second, the median of the seconds that they took, the worst stall of
        the server's loop, its seconds of CPU for each answer, and how many answers it
        has given in all.
    """
    clients = [await _client(port) for _ in range(number)]
    took: list[float] = []
    try:
        await asyncio.gather(*(_warm(client, path) for client in clients))
        before = await ask(port, "stall")
        began = time.perf_counter()
        end = began + seconds
        await asyncio.gather(*(_busy(client, path, end, took) for client in clients))
        spent = time.perf_counter() - began
        after = await ask(port, "stall")
    finally:
        for client in clients:
            await client.close()
    return {
        "rate": len(took) / spent,
        "p50": quantile(took, 0.5),
        "answers": len(took) + _WARM * number,
        "stall": after["stall"],
        "cpu": (after["cpu"] - before["cpu"]) / len(took),
    }


async def _warm(client: _Client, path: str) -> None:
    for _ in range(_WARM):
        await client.get(path)


async def _busy(client: _Client, path: str, end: float, took: list[float]) -> None:
    while (began := time.perf_counter()) < end:
        await client.get(path)
        took.append(time.perf_counter() - began)
