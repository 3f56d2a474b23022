"""Rounds of all rows, against a Redis server of the run's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..children import Child, children, interleaved, machine
from ..control import own_server
from .rows import ROWS

if TYPE_CHECKING:
    from .scenario import Scenario

__all__ = ("run",)


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
        "machine": machine(),
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

    def start(port: int) -> Callable[[str], Child]:
        return lambda name: Child(
            name,
            f"{__package__}.child",
            pythons.get(name, sys.executable),
            port,
            amqp=amqp,
        )

    with own_server() as port, children(usable, start(port), record, say) as ready:
        for load, names in plan:
            fitting = [
                child
                for child in ready
                if child.row in names and ROWS[child.row].fits(load)
            ]
            record["runs"][load.name] = interleaved(load, fitting, rounds, say)
    return record
