"""Bounds, judged on one record.

Judged is the ratio of the best rounds (of a server: of their means); the median of the
ratios within a round is printed beside it. A bound whose rows are missing, or did not
run in the native tier, counts as missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .record import best, median_ratio

__all__ = ("Bound", "Verdict", "judge", "rows_of")


#: Figures that are not times.
_UNITS = {
    "rate": "/s",
    "connections": "sockets",
    "subscriptions": "sockets",
    "missing": "results",
    "threads": "threads",
    "growth": "bytes",
    "objects": "objects",
}


@dataclass(frozen=True)
class Bound:
    """`figure` of `row` is at most (or at least) `times` that of `other`.

    Attributes:
        load: where it is measured.
        figure: which figure.
        row: whose.
        other: compared with whose; nobody's if it is empty, and `floor` is the bound.
        times: the bound.
        least: whether it is a lower bound.
        plus: seconds that may be added to the other figure.
        floor: seconds that are always allowed.
        beside: where the other figure is measured, if not at the same load.
    """

    load: str
    figure: str
    row: str
    other: str
    times: float
    least: bool = False
    plus: float = 0.0
    floor: float = 0.0
    beside: str = ""

    def __str__(self) -> str:
        text = f"{self.load}: {self.figure} of {self.row} "
        if not self.other:
            unit = _UNITS.get(self.figure, "ms")
            return f"{text}at most {self.floor * (1e3 if unit == 'ms' else 1):g} {unit}"
        other = f"{self.other} at {self.beside}" if self.beside else self.other
        if self.times < 1 and not self.least:
            return f"{text}at most that of {other} / {1 / self.times:g}"
        text += f"at {'least' if self.least else 'most'} {self.times:g} x {other}"
        text += f" + {self.plus * 1e3:g} ms" if self.plus else ""
        return text + (f", or {self.floor * 1e3:g} ms" if self.floor else "")


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
        unit = _UNITS.get(self.bound.figure, "us")
        factor = 1e6 if unit == "us" else 1.0
        if not self.bound.other and self.value is not None and not self.note:
            return f"{mark}  {self.bound}: {self.value * factor:.0f} {unit}"
        if self.ratio is None:
            return f"{mark}  {self.bound}: {self.note or 'not measured'}"
        median = "-" if self.median is None else f"{self.median:.2f}"
        note = f" - {self.note}" if self.note else ""
        return (
            f"{mark}  {self.bound}: {self.ratio:.2f} (median {median}; "
            f"{(self.value or 0) * factor:.0f} against "
            f"{(self.other or 0) * factor:.0f} {unit}){note}"
        )


def rows_of(load: str, bounds: Iterable[Bound]) -> list[str]:
    """The rows that the bounds compare at a load; none if it has no bounds."""
    pairs = [
        pair
        for bound in bounds
        for pair in ((bound.load, bound.row), (bound.beside or bound.load, bound.other))
    ]
    return list(dict.fromkeys(row for where, row in pairs if where == load and row))


def _not_native(record: dict[str, Any], bound: Bound) -> str:
    runs = record["runs"].get(bound.load, {}).get(bound.row, [])
    tiers = {run["tier"] for run in runs if "tier" in run} - {"native"}
    return f"ran in the tier {tiers.pop()}" if tiers else ""


def judge(record: dict[str, Any], bounds: Iterable[Bound]) -> Iterator[Verdict]:
    """Say of each bound whether it held."""
    for bound in bounds:
        value = best(record, bound.load, bound.row, bound.figure)
        note = _not_native(record, bound)
        if not bound.other:
            yield Verdict(bound, value, bound.floor, None, note)
            continue
        beside = bound.beside or bound.load
        other = best(record, beside, bound.other, bound.figure)
        pair = (bound.row, bound.other)
        median = median_ratio(record, bound.load, pair, bound.figure, beside)
        yield Verdict(bound, value, other, median, note)
