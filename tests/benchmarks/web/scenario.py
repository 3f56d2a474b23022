"""What is measured: which views, and how many clients ask at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ("DISTANCE", "LOADS", "QUICK", "Load", "loads")

#: Seconds to the broker and back.
DISTANCE = 0.04
#: What a quick run divides the seconds by.
QUICK = 4


@dataclass(frozen=True)
class Load:
    """One load.

    Attributes:
        name: what the command line calls it.
        clients: how many requests are under way at once.
        sends: how many messages a view sends.
        seconds: for how long.
    """

    name: str
    clients: int
    sends: int
    seconds: float = 4.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


#: Every load, by its name.
LOADS = {load.name: load for load in (Load("one", 50, 1), Load("ten", 50, 10))}


def loads(names: list[str] | None, quick: bool) -> list[Load]:
    """The loads of these names, all of them by default."""
    chosen = [LOADS[name] for name in names or LOADS]
    share = QUICK if quick else 1
    return [replace(load, seconds=load.seconds / share) for load in chosen]
