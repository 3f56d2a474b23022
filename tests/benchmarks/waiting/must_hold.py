"""The bounds of native waiting on Redis."""

from __future__ import annotations

from ..bounds import Bound

__all__ = ("BOUNDS", "SOAK")

_THIRD = 0.3

#: One line for each bound.
BOUNDS = (
    Bound("bare-1", "p50", "ours", "sync", 0.6),
    Bound("bare-1", "p99", "ours", "", 1.0, floor=0.015),
    Bound("bare-100", "rate", "ours", "sync", 3.0, least=True),
    Bound("bare-100", "cpu", "ours", "sync", _THIRD),
    Bound("bare-1000", "rate", "ours", "sync", 3.0, least=True),
    Bound("bare-1000", "cpu", "ours", "sync", _THIRD),
    Bound("bare-1000", "rate", "ours", "ours", 0.8, least=True, beside="bare-100"),
    Bound("prefork-1", "cpu", "ours", "sync", _THIRD),
    Bound("prefork-1", "p50", "ours", "sync", 1.0),
    Bound("prefork-100", "cpu", "ours", "sync", _THIRD),
    Bound("prefork-100", "p50", "ours", "sync", 1.0),
    *(
        bound
        for writer in ("stock", "quick")
        for bound in (
            Bound(f"race-{writer}", "missing", "ours", "", 1.0),
            Bound(f"race-{writer}", "beyond", "ours", "", 1.0, floor=2.0),
            Bound(f"race-{writer}", "cpu", "ours", "", 1.0, floor=2.0),
            Bound(f"race-{writer}", "subscriptions", "ours", "", 1.0, floor=1),
            Bound(f"race-{writer}", "threads", "ours", "", 1.0),
        )
    ),
)

#: The same for the soak, which takes a minute and a command of its own. What grows with
#: each result would be many times this: 100,000 results of a few hundred bytes each.
SOAK = (
    Bound("soak-bare", "missing", "ours", "", 1.0),
    Bound("soak-bare", "growth", "ours", "", 1.0, floor=2 << 20),
    Bound("soak-bare", "objects", "ours", "", 1.0, floor=2000),
)
