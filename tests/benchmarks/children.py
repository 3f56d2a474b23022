"""The processes of the rows, and rounds of all of them, interleaved.

One row, one process: some libraries change others when they are imported, and the
bridge can be installed only where it is measured. Interleaved, so that a slow minute
hits every row alike.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ("Child", "Load", "children", "interleaved", "machine")

#: Seconds for the row that is running when somebody ends the run.
_ENDS_WITHIN = 5.0
_ROOT = Path(__file__).parents[2]


class Load(Protocol):
    """What a row is told to do."""

    @property
    def name(self) -> str: ...

    def to_dict(self) -> dict[str, Any]: ...


class Child:
    """The process of one row.

    Arguments:
        row: its name.
        module: what the process runs; it gets the row and the port.
        python: the interpreter.
        port: of the Redis server.
        servers: goes with every order.
    """

    def __init__(
        self, row: str, module: str, python: str, port: int, **servers: Any
    ) -> None:
        self.row = row
        self._servers = {"port": port, **servers}
        self._process = subprocess.Popen(
            [python, "-m", module, row, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self.hello = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"skip": f"its process ended ({self._process.wait()})"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, load: Load) -> dict[str, Any]:
        """Run a load once."""
        assert self._process.stdin is not None
        order = {"load": load.to_dict(), **self._servers}
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "its process has ended"}
        answer = self._read()
        return {"error": answer["skip"]} if "skip" in answer else answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def children(
    rows: Iterable[str],
    start: Callable[[str], Child],
    record: dict[str, Any],
    say: Callable[[str], None],
) -> Iterator[list[Child]]:
    """Start the processes of rows; yield those that can measure.

    The versions that they found, and why others cannot, go into the record.
    """
    with ExitStack() as stack:
        started = []
        for name in rows:
            child = start(name)
            stack.callback(child.close)
            started.append(child)
        for child in started:
            if "skip" in child.hello:
                record["skipped"][child.row] = child.hello["skip"]
            else:
                record["versions"][child.row] = child.hello["versions"]
        for name, reason in sorted(record["skipped"].items()):
            say(f"without {name}: {reason}")
        yield [child for child in started if "skip" not in child.hello]


def machine() -> dict[str, Any]:
    """What the figures of a record depend on."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def interleaved(
    load: Load, fitting: list[Child], rounds: int, say: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    """Run a load so many times in each process; return the figures by row."""
    found: dict[str, list[dict[str, Any]]] = {child.row: [] for child in fitting}
    for number in range(rounds):
        say(f"{load.name}: round {number + 1} of {rounds}")
        # Every second round backwards: no row always runs after the same one.
        for child in fitting[:: -1 if number % 2 else 1]:
            answer = child.measure(load)
            found[child.row].append(answer)
            if "error" in answer:
                say(f"  {child.row}: {answer['error']}")
    return found
