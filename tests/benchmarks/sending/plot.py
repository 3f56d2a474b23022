"""Bars of CPU and rate for each row, as a picture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..record import best
from .rows import ROWS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("plot",)

_COLOURS = {
    "reference": "#9e9e9e",
    "ours": "#2e7d32",
    "celery": "#1565c0",
    "peer": "#ef6c00",
}
_PANELS = (
    ("cpu", 1e6, "CPU of the client, µs for each message"),
    ("rate", 1.0, "messages per second"),
)


def plot(record: dict[str, Any], to: Path, load: str) -> None:
    """Draw the best rounds of one load into a file; its suffix decides the format."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    rows = [name for name in record["runs"][load] if name != "nothing"][::-1]
    figure, axes = pyplot.subplots(
        1, len(_PANELS), figsize=(11, 0.8 + 0.34 * len(rows)), sharey=True
    )
    for axis, (name, factor, title) in zip(axes, _PANELS, strict=True):
        values = [(best(record, load, row, name) or 0) * factor for row in rows]
        colours = [_COLOURS[ROWS[row].family] for row in rows]
        bars = axis.barh([ROWS[row].label for row in rows], values, color=colours)
        axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    machine = record["machine"]
    figure.suptitle(
        f"{load}, {record['loads'][load]['count']} messages, best of "
        f"{record['rounds']} (Python {machine['python']}, {machine['cores']} cores)",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(to, dpi=120)
    pyplot.close(figure)
