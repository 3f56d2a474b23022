"""What is measured: the shape of the load, its payload and its circumstances."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ("QUICK", "SCENARIOS", "WORKERS", "Scenario", "scenarios")

#: Coroutines that send side by side in the shape "workers".
WORKERS = 100
#: What a quick run divides the counts by.
QUICK = 5

_COUNTS = {"sequential": 1000, "workers": 2000, "gather": 10_000}
_PAYLOADS = {"small": "v", "1k": "x" * 1024}


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        shape: "sequential", "workers" or "gather".
        payload: "small" for `noop(i, y='v')`, "1k" for a text of 1 KiB in its place.
        count: how many messages.
        backend: whether tasks have a result backend.
        receivers: whether two receivers of publish signals are connected, as
            OpenTelemetry's instrumentation connects them.
    """

    shape: str
    payload: str
    count: int
    backend: bool = False
    receivers: bool = False

    @property
    def name(self) -> str:
        extras = ["backend"] * self.backend + ["receivers"] * self.receivers
        return "-".join([self.shape, self.payload, *extras])

    @property
    def text(self) -> str:
        """The keyword argument `y` of the task."""
        return _PAYLOADS[self.payload]

    @property
    def plain(self) -> bool:
        """Whether it is a load for every library, not only for Celery's own."""
        return not (self.backend or self.receivers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _all() -> tuple[Scenario, ...]:
    plain = [
        Scenario(shape, payload, count)
        for payload in _PAYLOADS
        for shape, count in _COUNTS.items()
    ]
    small = [scenario for scenario in plain if scenario.payload == "small"]
    return (
        *plain,
        *(replace(scenario, backend=True) for scenario in small),
        *(replace(scenario, receivers=True) for scenario in small),
    )


#: Every load, by its name.
SCENARIOS = {scenario.name: scenario for scenario in _all()}


def scenarios(names: list[str] | None, quick: bool) -> list[Scenario]:
    """The loads of these names, all of them by default."""
    chosen = [SCENARIOS[name] for name in names or SCENARIOS]
    if quick:
        chosen = [replace(load, count=load.count // QUICK) for load in chosen]
    return chosen
