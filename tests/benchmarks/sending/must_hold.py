"""The bounds of native sending on Redis."""

from __future__ import annotations

from ..bounds import Bound

__all__ = ("BOUNDS",)

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
    Bound(_SEQUENTIAL, "server", "ours", "lpush-paced", 1.3),
    Bound("workers-small", "server", "ours", "lpush-paced", 1.3),
    Bound("gather-small", "server", "ours", "lpush-paced", 1.3),
    Bound("gather-small", "connections", "ours", "limit", 1.0),
    Bound("gather-small", "connections", "trampoline", "limit", 1.0),
)
