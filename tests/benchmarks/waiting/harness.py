"""Rounds of all rows, each load against one and the same who answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..children import Child, children, interleaved, machine
from ..control import own_server
from .rows import ROWS
from .workers import answering

if TYPE_CHECKING:
    from .scenario import Proof, Scenario

__all__ = ("run",)

_QUEUE = "bench"


def run(
    plan: list[tuple[Scenario, list[str]]],
    rounds: int,
    *,
    say: Callable[[str], None],
    proofs: list[Proof],
) -> dict[str, Any]:
    """Measure every load with each of its rows that fits it.

    Arguments:
        plan: the loads, and the names of the rows.
        rounds: how often each row runs each load.
        say: is told how far it is.
        proofs: what only our row does; a soak once, whatever the rounds.

    Returns:
        The record that `report` and `must_hold` read.
    """
    record: dict[str, Any] = {
        "machine": machine(),
        "rounds": rounds,
        "versions": {},
        "skipped": {},
        "runs": {},
        "loads": {load.name: load.to_dict() for load, _ in plan},
    }
    rows = [
        name
        for name in ROWS
        if any(name in names for _, names in plan) or (proofs and name == "ours")
    ]

    def start(port: int) -> Callable[[str], Child]:
        module = f"{__package__}.child"
        return lambda name: Child(name, module, sys.executable, port, queue=_QUEUE)

    with own_server() as port, children(rows, start(port), record, say) as ready:
        for load, names in plan:
            fitting = [
                child
                for child in ready
                if child.row in names and ROWS[child.row].fits(load)
            ]
            with answering(load.server, port, _QUEUE):
                record["runs"][load.name] = interleaved(load, fitting, rounds, say)
        for proof in proofs:
            ours = [child for child in ready if child.row == "ours"]
            times = 1 if proof.kind == "soak" else rounds
            with answering(proof.server, port, _QUEUE):
                record["runs"][proof.name] = interleaved(proof, ours, times, say)
    return record
