"""Tables of a record."""

from __future__ import annotations

from typing import Any

from ..record import Column, cell
from ..record import table as one_table
from .rows import ROWS

__all__ = ("table",)

_COLUMNS: tuple[Column, ...] = (
    ("CPU us", "cpu", 1e6),
    ("trips/s", "rate", 1),
    ("p50 ms", "p50", 1e3),
    ("p99 ms", "p99", 1e3),
    ("Redis us", "server", 1e6),
)


def table(record: dict[str, Any]) -> str:
    """One table for each load, in Markdown."""
    parts = []
    for load, runs in record["runs"].items():
        if load not in record["loads"]:
            continue
        count, waiters = (record["loads"][load][key] for key in ("count", "waiters"))
        title = f"**{load}**, {count} trips of {waiters}"
        rows = [
            (ROWS[row].label, [cell(record, load, row, c) for c in _COLUMNS])
            for row in runs
        ]
        parts.append(one_table(title, _COLUMNS, rows))
    return "\n\n".join(parts)
