"""A proxy that counts round trips and can hold back what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.redis_faults.faulty_proxy import FaultyProxy


class Turns(FaultyProxy):
    """A proxy with a delay for the replies alone.

    Attributes:
        turns: how often a client has written after it had got a reply.
    """

    def __init__(self, url: str, delay: float) -> None:
        super().__init__(url)
        self._lag = delay
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._answered = True
        self.turns = 0

    def mute(self) -> None:
        """Hold the replies back from now on; commands go on to the server."""
        self._loop.call_soon_threadsafe(self._speaks.clear)

    def unmute(self) -> None:
        """Deliver replies again, also those that were held back."""
        self._loop.call_soon_threadsafe(self._speaks.set)

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        inward = writer not in self._sides
        while data := await reader.read(65536):
            if inward:
                self.turns += self._answered
                self._answered = False
            else:
                await asyncio.sleep(self._lag)
                await self._speaks.wait()
                self._answered = True
            writer.write(data)
            await writer.drain()


@contextmanager
def turns(url: str, delay: float = 0.02) -> Iterator[Turns]:
    """Run such a proxy in front of a server."""
    proxy = Turns(url, delay)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.unmute()
        proxy.stop()
