"""The bounds of native sending on Redis, judged on one record.

Judged is the ratio of the best rounds; the median of the ratios within a round is
printed beside it. A bound whose rows are missing, or did not run in the native tier,
counts as missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .report import best, median_ratio

__all__ = ("BOUNDS", "Bound", "Verdict", "judge", "rows_of")


@dataclass(frozen=True)
class Bound:
    """`figure` of `row` is at most (or at least) `times` that of `other`.

    Attributes:
        load: where it is measured.
        figure: which figure.
        row: whose.
        other: compared with whose.
        times: the bound.
        least: whether it is a lower bound.
        plus: seconds that may be added to the other figure.
        floor: seconds that are always allowed.
    """

    load: str
    figure: str
    row: str
    other: str
    times: float
    least: bool = False
    plus: float = 0.0
    floor: float = 0.0

    def __str__(self) -> str:
        text = f"{self.load}: {self.figure} of {self.row} "
        if self.times < 1:
            return f"{text}at most that of {self.other} / {1 / self.times:g}"
        text += f"at {'least' if self.least else 'most'} {self.times:g} x {self.other}"
        text += f" + {self.plus * 1e3:g} ms" if self.plus else ""
        return text + (f", or {self.floor * 1e3:g} ms" if self.floor else "")


#: Figures that are not times.
_UNITS = {"rate": "msg/s", "connections": "sockets"}


@dataclass(frozen=True)
class Verdict:
    """What became of a bound."""

    bound: Bound
    value: float | None
    other: float | None
    median: float | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.value is None or not self.other:
            return None
        return self.value / self.other

    @property
    def held(self) -> bool:
        bound = self.bound
        if self.value is None or self.other is None or self.note:
            return False
        if bound.least:
            return self.value >= bound.times * self.other
        allowed = bound.times * self.other + bound.plus
        return self.value <= max(allowed, bound.floor)

    def __str__(self) -> str:
        mark = "PASS" if self.held else "FAIL"
        if self.ratio is None:
            return f"{mark}  {self.bound}: {self.note or 'not measured'}"
        unit = _UNITS.get(self.bound.figure, "us")
        factor = 1e6 if unit == "us" else 1.0
        median = "-" if self.median is None else f"{self.median:.2f}"
        note = f" - {self.note}" if self.note else ""
        return (
            f"{mark}  {self.bound}: {self.ratio:.2f} (median {median}; "
            f"{(self.value or 0) * factor:.0f} against "
            f"{(self.other or 0) * factor:.0f} {unit}){note}"
        )


_FULL, _SEQUENTIAL = "gather-small-backend", "sequential-small"
_RECEIVERS = "gather-small-receivers"

#: One line for each bound that is a ratio. Below one: the other is the dearer row.
BOUNDS = (
    Bound(_FULL, "cpu", "ours", "limit", 2.2),
    Bound(_FULL, "cpu", "ours", "sync", 1 / 5),
    Bound(_FULL, "cpu", "ours", "saq", 1 / 1.8),
    Bound(_FULL, "cpu", "ours", "streaq-many", 1.0),
    Bound(_FULL, "rate", "ours", "saq", 2.0, least=True),
    Bound(_SEQUENTIAL, "cpu", "ours", "limit", 1.4),
    Bound(_SEQUENTIAL, "p50", "ours", "sync-to-async", 0.25),
    Bound(_RECEIVERS, "cpu", "ours", "limit", 3.0),
    Bound("gather-small", "cpu", "trampoline", "sync", 1 / 1.4),
    Bound("gather-small", "gap", "ours", "nothing", 3.0, floor=0.25),
    Bound("gather-small", "gap", "trampoline", "nothing", 3.0, floor=0.25),
    Bound(_SEQUENTIAL, "gap_p99", "ours", "nothing", 1.0, plus=0.008),
    Bound(_SEQUENTIAL, "server", "ours", "lpush", 1.3),
    Bound("workers-small", "server", "ours", "lpush", 1.3),
    Bound("gather-small", "server", "ours", "lpush", 1.3),
    Bound("gather-small", "connections", "ours", "limit", 1.0),
    Bound("gather-small", "connections", "trampoline", "limit", 1.0),
)


def rows_of(load: str, bounds: Iterable[Bound] = BOUNDS) -> list[str]:
    """The rows that the bounds of a load compare; none if it has no bounds."""
    pairs = [(bound.row, bound.other) for bound in bounds if bound.load == load]
    return list(dict.fromkeys(name for pair in pairs for name in pair))


def _not_native(record: dict[str, Any], bound: Bound) -> str:
    runs = record["runs"].get(bound.load, {}).get(bound.row, [])
    tiers = {run["tier"] for run in runs if "tier" in run} - {"native"}
    return f"ran in the tier {tiers.pop()}" if tiers else ""


def judge(
    record: dict[str, Any], bounds: Iterable[Bound] = BOUNDS
) -> Iterator[Verdict]:
    """Say of each bound whether it held."""
    for bound in bounds:
        value = best(record, bound.load, bound.row, bound.figure)
        other = best(record, bound.load, bound.other, bound.figure)
        pair = (bound.row, bound.other)
        median = median_ratio(record, bound.load, pair, bound.figure)
        yield Verdict(bound, value, other, median, _not_native(record, bound))
