"""A Redis server for one run, and a connection that asks it questions.

Standard library only: a row may run in an environment that has nothing else.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec

__all__ = ("Control", "own_server")

_STARTS_WITHIN = 10.0


class Control:
    """Blocking questions to the server, asked outside of what is measured."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str | int) -> str:
        """Run a command; the answer is an integer or a text."""
        self._socket.sendall(" ".join(map(str, words)).encode() + b"\r\n")
        line = self._file.readline()
        kind, rest = line[:1], line[1:].strip().decode()
        if kind == b"-" or not line:
            raise RuntimeError(f"{words[0]}: {rest or 'the server is gone'}")
        if kind == b"$":
            return self._file.read(int(rest) + 2).decode()
        return rest

    def _info(self, section: str) -> dict[str, str]:
        lines = self.ask("INFO", section).splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name: value for name, _, value in pairs}

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        found = self._info("CPU")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def clients(self) -> int:
        """How many connections the server has."""
        return int(self._info("CLIENTS")["connected_clients"])

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program() -> str:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    raise SystemExit("no redis-server and no valkey-server on this machine")


@contextlib.contextmanager
def own_server() -> Iterator[int]:
    """Run a Redis server of our own: its CPU is ours, and so are all its keys."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [_program(), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            control = Control(port)
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        control.ask("PING")
        control.close()
        return


def importable(names: tuple[str, ...]) -> str:
    """The first of the modules that is not there; "" if all are."""
    return next((name for name in names if find_spec(name) is None), "")
