"""A process that runs one row whenever its parent asks, and answers in JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..control import Control, importable
from ..serving import serve, versions
from .case import Case
from .rows import ROWS
from .scenario import Proof, Scenario

if TYPE_CHECKING:
    from .rows import Row

__all__ = ("main",)


def _hello(name: str) -> dict[str, Any]:
    missing = importable(ROWS[name].needs)
    return {"skip": f"no module {missing}"} if missing else {"versions": versions()}


async def _run(row: Row, case: Case, control: Control) -> dict[str, Any]:
    from .measure import measure

    async with row.make(case) as traveller:
        figures: dict[str, Any] = (
            await measure(traveller, case.load, control)
        ).to_dict()
    if row.name == "ours":
        from .rows_celery import tier

        figures["tier"] = tier(case)
    return figures


async def _prove(proof: Proof, order: dict[str, Any], control: Control) -> Any:
    from .race import race
    from .soak import soak

    if proof.kind == "race":
        return await race(order["port"], control, proof.server, proof.count)
    return await soak(order["port"], order["queue"], proof.seconds, proof.count)


def _answer(name: str, order: dict[str, Any], control: Control) -> dict[str, Any]:
    if "kind" in order["load"]:
        proof = Proof(**order["load"])
        found: dict[str, Any] = asyncio.run(_prove(proof, order, control))
        return found
    load = Scenario(**order["load"])
    case = Case(load, order["port"], order["queue"])
    return asyncio.run(_run(ROWS[name], case, control))


def main() -> None:
    """Answer orders from stdin until it ends."""
    serve(_hello, _answer)


if __name__ == "__main__":
    main()
