"""Rounds of all rows, interleaved, so that a slow minute hits every row alike."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .control import own_server
from .rows import ROWS, Row

if TYPE_CHECKING:
    from .scenario import Scenario

__all__ = ("Child", "run")

#: Seconds for the row that is running when somebody ends the run.
_ENDS_WITHIN = 5.0
_ROOT = Path(__file__).parents[3]


class Child:
    """The process of one row."""

    def __init__(self, row: Row, python: str, port: int, amqp: str) -> None:
        self.row = row
        self._servers = {"port": port, "amqp": amqp}
        self._process = subprocess.Popen(
            [python, "-m", f"{__package__}.child", row.name, str(port)],
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

    def measure(self, load: Scenario) -> dict[str, Any]:
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
def _children(
    rows: list[str], pythons: dict[str, str], port: int, amqp: str
) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        children = []
        for name in rows:
            child = Child(ROWS[name], pythons.get(name, sys.executable), port, amqp)
            stack.callback(child.close)
            children.append(child)
        yield children


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def run(
    plan: list[tuple[Scenario, list[str]]],
    rounds: int,
    *,
    amqp: str,
    pythons: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure every load with each of its rows that fits it.

    Arguments:
        plan: what to send, and the names of the rows that send it.
        rounds: how often each row runs each load.
        amqp: URL of RabbitMQ; empty where there is none.
        pythons: interpreters for rows whose package does not fit beside ours.
        say: is told how far it is.

    Returns:
        The record that `report`, `plot` and `must_hold` read.
    """
    record: dict[str, Any] = {
        "machine": _machine(),
        "rounds": rounds,
        "versions": {},
        "skipped": {},
        "runs": {},
        "loads": {load.name: load.to_dict() for load, _ in plan},
    }
    rows = [name for name in ROWS if any(name in names for _, names in plan)]
    usable = [name for name in rows if amqp or not ROWS[name].amqp]
    for name in set(rows) - set(usable):
        record["skipped"][name] = "no RabbitMQ"
    with own_server() as port, _children(usable, pythons, port, amqp) as children:
        for child in children:
            if "skip" in child.hello:
                record["skipped"][child.row.name] = child.hello["skip"]
            else:
                record["versions"][child.row.name] = child.hello["versions"]
        for name, reason in sorted(record["skipped"].items()):
            say(f"without {name}: {reason}")
        ready = [child for child in children if "skip" not in child.hello]
        for load, names in plan:
            chosen = [child for child in ready if child.row.name in names]
            record["runs"][load.name] = _interleaved(load, chosen, rounds, say)
    return record


def _interleaved(
    load: Scenario, children: list[Child], rounds: int, say: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    fitting = [child for child in children if child.row.fits(load)]
    for number in range(rounds):
        say(f"{load.name}: round {number + 1} of {rounds}")
        # Every second round backwards: no row always runs after the same one.
        for child in fitting[:: -1 if number % 2 else 1]:
            answer = child.measure(load)
            found.setdefault(child.row.name, []).append(answer)
            if "error" in answer:
                say(f"  {child.row.name}: {answer['error']}")
    return {child.row.name: found[child.row.name] for child in fitting}
