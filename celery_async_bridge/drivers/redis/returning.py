"""What a channel has claimed goes back when it stops consuming."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import kombu.transport.redis

from ...core.graft import Seam
from ...core.trampoline import await_, in_trampoline
from .consume import drain_here
from .holding import holding_of
from .intake import intake_of

__all__ = ("returning_seams",)


def _basic_cancel(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _basic_cancel(self: Any, consumer_tag: Any) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        value = original(self, consumer_tag)
        holding_of(self).on_cancel()
        intake = None if queue is None else intake_of(self)
        if intake is None:
            return value
        if not intake.here:
            intake.returns.drop_blocking(self.pool, queue)
        else:
            intake.stop_tending()
            intake.returns.drop(queue)
            if in_trampoline():
                await_(intake.settled())
        intake.changed()
        return value

    return _basic_cancel


def _close(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def close(self: Any) -> Any:
        intake = intake_of(self)
        try:
            holding_of(self).on_close()
            if intake is None or intake.closed:
                pass
            elif not intake.here:
                intake.closed = True
                intake.returns.drop_blocking(self.pool)
            elif in_trampoline():
                await_(intake.farewell())
            else:
                intake.close()
        finally:
            original(self)

    return close


def _changes(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def changes(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, *args, **kwargs)
        holding_of(self).on_change()
        return value

    return changes


def _drain_events(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def drain_events(self: Any, connection: Any, timeout: float | None = None) -> Any:
        if not in_trampoline():
            return original(self, connection, timeout)
        try:
            return drain_here(self, timeout)
        except TimeoutError as exc:
            raise TimeoutError("timed out") from exc

    return drain_events


def returning_seams() -> list[Seam]:
    """Return the rows for the end of consuming, and for what begins it."""
    channel = kombu.transport.redis.Channel
    back = "what was claimed and not delivered goes back to its queue"
    look = "a wait takes notice of other queues and limits"
    return [
        Seam(channel, "_basic_cancel", _basic_cancel, "a", back),
        Seam(channel, "close", _close, "a", back),
        Seam(
            kombu.transport.redis.Transport,
            "drain_events",
            _drain_events,
            "a",
            "a wait of a bridge call must be awaited",
        ),
        Seam(channel, "basic_consume", _changes, "d", look),
        Seam(channel, "basic_qos", _changes, "d", look),
    ]
