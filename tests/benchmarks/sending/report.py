"""The best of several rounds, and a table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .rows import ROWS

__all__ = ("best", "median_ratio", "table")

_BEST: dict[str, Callable[..., Any]] = {
    "cpu": min,
    "rate": max,
    "p50": min,
    "p99": min,
    "gap": min,
    "gap_p99": min,
    "server": min,
    # Not a time: here the worst round counts.
    "connections": max,
}
_COLUMNS = (
    ("CPU us", "cpu", 1e6),
    ("msg/s", "rate", 1),
    ("p50 ms", "p50", 1e3),
    ("p99 ms", "p99", 1e3),
    ("gap ms", "gap", 1e3),
    ("Redis us", "server", 1e6),
    ("sockets", "connections", 1),
)


def _values(record: dict[str, Any], load: str, row: str, figure: str) -> list[Any]:
    runs = record["runs"].get(load, {}).get(row, [])
    return [run.get(figure) for run in runs]


def best(record: dict[str, Any], load: str, row: str, figure: str) -> float | None:
    """The best round of a figure; None if the row has none.

    What disturbs a run only ever adds to it, so the best one is the least wrong.
    """
    values = [v for v in _values(record, load, row, figure) if v is not None]
    return _BEST[figure](values) if values else None


def median_ratio(
    record: dict[str, Any], load: str, rows: tuple[str, str], figure: str
) -> float | None:
    """The median over the rounds of one row's figure in units of the other's."""
    above, below = (_values(record, load, row, figure) for row in rows)
    ratios = sorted(a / b for a, b in zip(above, below, strict=False) if a and b)
    return ratios[len(ratios) // 2] if ratios else None


def _cell(record: dict[str, Any], load: str, row: str, column: Any) -> str:
    _, figure, factor = column
    of_redis = figure in {"server", "connections"}
    value = best(record, load, row, figure)
    if value is None or (of_redis and (ROWS[row].amqp or row == "nothing")):
        return "-"
    value *= factor
    return f"{value:.0f}" if value >= 100 or isinstance(value, int) else f"{value:.2f}"


def table(record: dict[str, Any]) -> str:
    """One table for each load, in Markdown."""
    parts = []
    for load, runs in record["runs"].items():
        titles = [title for title, _, _ in _COLUMNS]
        lines = [
            f"**{load}**, {record['loads'][load]['count']} messages",
            "",
            f"| {'':42} | {' | '.join(f'{title:>8}' for title in titles)} |",
            f"| {'-' * 42} |{'|'.join(['---------:'] * len(titles))}|",
        ]
        for row in runs:
            cells = [f"{_cell(record, load, row, column):>8}" for column in _COLUMNS]
            tiers = {run["tier"] for run in runs[row] if "tier" in run}
            label = ROWS[row].label
            if tiers and row != "thread" and tiers != {"native"}:
                label += f" [{', '.join(sorted(tiers))}]"
            lines.append(f"| {label:42} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
