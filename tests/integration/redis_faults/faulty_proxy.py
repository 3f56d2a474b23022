"""A TCP proxy that fails on command, and an address that swallows connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.integration.proxy import Proxy

# Close without lingering: the other side gets a reset instead of an end.
_NO_LINGER = struct.pack("ii", 1, 0)


class FaultyProxy(Proxy):
    """Relays until told otherwise; every order may come from any thread."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._flows = asyncio.Event()
        self._flows.set()
        self._sides: set[asyncio.StreamWriter] = set()
        self._left: int | None = None
        self.resets = 0

    def hole(self) -> None:
        """Swallow everything from now on; connections stay open."""
        self._soon(self._flows.clear)

    def heal(self) -> None:
        """Relay again, also what was held back."""
        self._soon(self._flows.set)

    def reset(self) -> None:
        """Reset all connections."""
        self._soon(self._reset)

    def reset_after(self, count: int) -> None:
        """Relay so many more bytes towards the server, then reset all connections."""
        self._left = count

    def _soon(self, order: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(order)

    def _reset(self) -> None:
        self.resets += 1
        sides, self._sides = self._sides, set()
        for side in sides:
            near = side.get_extra_info("socket")
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            side.transport.abort()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._sides.add(writer)
        try:
            await super()._relay(reader, writer)
        finally:
            self._sides.discard(writer)

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        inward = writer not in self._sides
        while data := await reader.read(65536):
            await self._flows.wait()
            if inward and self._left is not None:
                # A command that is cut in two never takes effect.
                data, self._left = data[: self._left], self._left - len(data)
            writer.write(data)
            await writer.drain()
            if inward and self._left is not None and self._left <= 0:
                self._left = None
                self._reset()
                # What has come in behind the cut must not follow it.
                return


@contextmanager
def faulty_proxy(url: str) -> Iterator[FaultyProxy]:
    """Run such a proxy in front of a server."""
    proxy = FaultyProxy(url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.heal()
        proxy.stop()


@contextmanager
def swallowing_port() -> Iterator[int]:
    """A port on which an attempt to connect gets no answer at all."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # With its backlog full, the kernel drops what else asks for a connection.
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
