"""The bounds of an async view that sends."""

from __future__ import annotations

from ..bounds import Bound

__all__ = ("BOUNDS",)

#: One line for each bound. Clients that ask in step leave a server idle while their
#: sends are under way, which a view that only sleeps shows as well; CPU is judged, too,
#: as it depends neither on that nor on what else runs.
BOUNDS = (
    Bound("one", "rate", "adelay", "nothing", 0.8, least=True),
    Bound("one", "rate", "adelay", "pause", 0.8, least=True),
    Bound("one", "cpu", "adelay", "nothing", 1.25),
    Bound("one", "stall", "adelay", "nothing", 3.0),
    Bound("ten", "rate", "adelay", "thread", 5.0, least=True),
)
