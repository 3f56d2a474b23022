"""Which messages may be sent by plan a second time, after a loss of the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..core.taps import recorder
from .plan import READY, Plan

if TYPE_CHECKING:
    from .plan import Line

__all__ = ("Reopens", "open_again")


def open_again(plan: Plan, failure: Exception) -> Line | None:
    """Return the way of a message whose first attempt has failed, if it is open again.

    The first calls after a loss go on in upstream's code, which connects, declares and
    publishes by its own policy. To those behind them nothing else would happen, but
    each would make a channel, a pool and a client for it.

    Returns:
        the line; None if upstream must go on, whose policy counts one attempt less.
    """
    if not hasattr(failure, "uncertain"):
        return None  # the server's answer
    policy = plan.published.get("retry_policy") or {}
    most = policy.get("max_retries")
    if not plan.published.get("retry") or (most is not None and most < 2):
        return None
    line = plan.line(asyncio.get_running_loop())
    if line is None or plan.state is not READY:
        return None
    mux = line.mux()
    assert plan.guard is not None  # it is ready
    if mux is None or not mux.room or not plan.guard.holds():
        return None
    return line


class Reopens:
    """Notes where upstream publishes a message, and opens its plan's line there."""

    __slots__ = ("_others", "_plan", "_token", "_written")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._others = recorder.get()
        self._written: tuple[Any, int] | None = None

    def _note(self, mux: Any, commands: list[tuple[Any, ...]]) -> None:
        self._written = mux, mux.generation
        if self._others is not None:
            self._others(mux, commands)

    def __enter__(self) -> None:
        self._token = recorder.set(self._note)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        recorder.reset(self._token)
        if kind is None and self._written is not None and self._plan.state is READY:
            mux, generation = self._written
            if mux.up and mux.generation == generation:
                self._plan.open_line(mux)
