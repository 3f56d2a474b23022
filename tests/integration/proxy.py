"""A TCP proxy that makes a good server slow, silent or absent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Listens on a port of its own, in a thread and a loop of its own.

    Arguments:
        url: the server behind it.
        delay: seconds that each piece of data takes, in either direction.
        silent: accept, read, and never answer.
    """

    def __init__(self, url: str, *, delay: float = 0.0, silent: bool = False) -> None:
        self._parts = urlsplit(url)
        self._delay = delay
        self._silent = silent
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.accepted = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of the server, as seen through the proxy."""
        return at_port(urlunsplit(self._parts), self.port)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        with suppress(OSError, asyncio.CancelledError):
            if self._silent:
                while await reader.read(65536):
                    pass
            else:
                await self._relay(reader, writer)
        writer.close()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        port = self._parts.port or {"redis": 6379, "amqp": 5672}[self._parts.scheme]
        there, back = await asyncio.open_connection(self._parts.hostname, port)
        try:
            pipes = [self._pipe(reader, back), self._pipe(there, writer)]
            tasks = {asyncio.ensure_future(pipe) for pipe in pipes}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.close()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            if self._delay:
                # Later, and without holding up what comes behind: distance, not width.
                loop.call_later(self._delay, writer.write, data)
            else:
                writer.write(data)
                await writer.drain()


def at_port(url: str, port: int) -> str:
    """`url` with another port of this host."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))


@contextmanager
def proxied(url: str, *, delay: float = 0.0, silent: bool = False) -> Iterator[Proxy]:
    """Run a proxy for the time of the block."""
    proxy = Proxy(url, delay=delay, silent=silent)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
