"""The figures of a record: the best of several rounds, ratios, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

__all__ = ("best", "cell", "median_ratio", "quantile", "table")

#: The figures that are not best when they are least.
_BEST: dict[str, Callable[..., Any]] = {
    "rate": max,
    # A server that is kept waiting reads more at once, and takes less for each.
    "server": fmean,
    # Not times: here the worst round counts.
    **dict.fromkeys(("connections", "subscriptions", "threads", "missing"), max),
}

#: Title, figure, factor.
Column = tuple[str, str, float]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _values(record: dict[str, Any], load: str, row: str, figure: str) -> list[Any]:
    runs = record["runs"].get(load, {}).get(row, [])
    return [run.get(figure) for run in runs]


def best(record: dict[str, Any], load: str, row: str, figure: str) -> float | None:
    """The best round of a figure; None if the row has none.

    What disturbs a run only ever adds to it, so the best one is the least wrong.
    """
    values = [v for v in _values(record, load, row, figure) if v is not None]
    return _BEST.get(figure, min)(values) if values else None


def median_ratio(
    record: dict[str, Any],
    load: str,
    rows: tuple[str, str],
    figure: str,
    other_load: str = "",
) -> float | None:
    """The median over the rounds of one row's figure in units of the other's."""
    above = _values(record, load, rows[0], figure)
    below = _values(record, other_load or load, rows[1], figure)
    ratios = sorted(a / b for a, b in zip(above, below, strict=False) if a and b)
    return ratios[len(ratios) // 2] if ratios else None


def cell(record: dict[str, Any], load: str, row: str, column: Column) -> str:
    """What a table says of a figure."""
    _, figure, factor = column
    value = best(record, load, row, figure)
    if value is None:
        return "-"
    value *= factor
    return f"{value:.0f}" if value >= 100 or isinstance(value, int) else f"{value:.2f}"


def table(
    title: str, columns: Sequence[Column], rows: Iterable[tuple[str, list[str]]]
) -> str:
    """A table in Markdown.

    Arguments:
        title: stands above it.
        columns: what is measured.
        rows: label and cells.
    """
    titles = [text for text, _, _ in columns]
    lines = [
        title,
        "",
        f"| {'':42} | {' | '.join(f'{text:>8}' for text in titles)} |",
        f"| {'-' * 42} |{'|'.join(['---------:'] * len(titles))}|",
    ]
    for label, cells in rows:
        lines.append(f"| {label:42} | {' | '.join(f'{c:>8}' for c in cells)} |")
    return "\n".join(lines)
