"""What is measured: who answers, and how many wait at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ("PROOFS", "QUICK", "SCENARIOS", "Proof", "Scenario", "scenarios")

#: What a quick run divides the counts by, down to one trip for each waiter.
QUICK = 5


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        server: who answers: "bare" is a minimal loop, "prefork" and "threads" are
            stock workers, "own" is a row's own worker, or else one with threads.
        waiters: how many trips are under way at once.
        count: how many trips in all.
    """

    server: str
    waiters: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.server}-{self.waiters}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Proof:
    """A load that only our row takes: it has nothing to be compared with.

    Attributes:
        kind: "race" or "soak".
        server: who stores the results.
        count: how many.
        seconds: in which time, for a soak.
    """

    kind: str
    server: str
    count: int
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.server}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


#: Every proof, by its name.
PROOFS = {
    proof.name: proof
    for proof in (
        Proof("race", "stock", 10_000),
        Proof("race", "quick", 10_000),
        Proof("soak", "bare", 100_000, 60.0),
    )
}

#: Trips by waiters; fewer where a worker is the limit.
_BARE = {1: 1000, 100: 5000, 1000: 10_000, 10_000: 20_000}
_STOCK = {1: 300, 100: 1500, 1000: 3000, 10_000: 10_000}
#: Those who look twice a second need a while for each.
_OWN = {1: 20, 100: 1000}
_COUNTS = {"bare": _BARE, "prefork": _STOCK, "threads": _STOCK, "own": _OWN}

#: Every load, by its name.
SCENARIOS = {
    scenario.name: scenario
    for server, counts in _COUNTS.items()
    for waiters, count in counts.items()
    for scenario in (Scenario(server, waiters, count),)
}


def scenarios(names: list[str] | None, quick: bool) -> list[Scenario]:
    """The loads of these names, all of them by default."""
    chosen = [SCENARIOS[name] for name in (SCENARIOS if names is None else names)]
    if not quick:
        return chosen
    return [
        replace(load, count=max(load.count // QUICK, load.waiters)) for load in chosen
    ]
