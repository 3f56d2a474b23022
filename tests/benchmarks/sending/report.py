"""Tables of a record."""

from __future__ import annotations

from typing import Any

from ..record import Column, cell
from ..record import table as one_table
from .rows import ROWS

__all__ = ("table",)

_COLUMNS: tuple[Column, ...] = (
    ("CPU us", "cpu", 1e6),
    ("msg/s", "rate", 1),
    ("p50 ms", "p50", 1e3),
    ("p99 ms", "p99", 1e3),
    ("gap ms", "gap", 1e3),
    ("Redis us", "server", 1e6),
    ("sockets", "connections", 1),
)


def _cell(record: dict[str, Any], load: str, row: str, column: Column) -> str:
    of_redis = column[1] in {"server", "connections"}
    if of_redis and (ROWS[row].amqp or row == "nothing"):
        return "-"
    return cell(record, load, row, column)


def _label(row: str, runs: list[dict[str, Any]]) -> str:
    tiers = {run["tier"] for run in runs if "tier" in run}
    label = ROWS[row].label
    if tiers and row != "thread" and tiers != {"native"}:
        label += f" [{', '.join(sorted(tiers))}]"
    return label


def table(record: dict[str, Any]) -> str:
    """One table for each load, in Markdown."""
    parts = []
    for load, runs in record["runs"].items():
        title = f"**{load}**, {record['loads'][load]['count']} messages"
        rows = [
            (_label(row, runs[row]), [_cell(record, load, row, c) for c in _COLUMNS])
            for row in runs
        ]
        parts.append(one_table(title, _COLUMNS, rows))
    return "\n\n".join(parts)
