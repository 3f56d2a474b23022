"""A send does not subscribe for its result; who waits for it does.

Upstream subscribes whenever a task is sent. Its consumer holds a thread lock across
I/O and waits with `poll()`, so it must never run in a trampoline; and even a plain
`ResultSet(...)` in a coroutine would block the loop. What would have been subscribed
there is noted, and subscribed when a sync wait begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

from ...core.graft import Seam
from ...core.trampoline import in_trampoline

__all__ = ("subscribe_seams",)

_NOTED = "_bridge_noted"
_WAITS = "_bridge_waits"
_LEFT = "_bridge_left"


def _noted(consumer: Any) -> dict[str, None]:
    found: dict[str, None] = vars(consumer).setdefault(_NOTED, {})
    return found


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _consume_from(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def consume_from(self: Any, task_id: str) -> Any:
        if _on_loop() and not vars(self).get(_WAITS):
            self._get_key_for_task(task_id)  # refuses what is no id, as upstream would
            # Bounded by the results that somebody keeps.
            if (
                task_id in self._pending_results[0]
                or task_id in self._pending_results[1]
            ):
                _noted(self)[task_id] = None
            return None
        for name in (_NOTED, _LEFT):
            vars(self).get(name, {}).pop(task_id, None)
        return original(self, task_id)

    return consume_from


def _start(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def start(self: Any, initial_task_id: str, **kwargs: Any) -> Any:
        if _on_loop() and not vars(self).get(_WAITS):
            _noted(self)[initial_task_id] = None
            return None
        return original(self, initial_task_id, **kwargs)

    return start


def _cancel_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def cancel_for(self: Any, task_id: str) -> Any:
        noted = vars(self).get(_NOTED)
        if noted:
            noted.pop(task_id, None)
        if not _on_loop():
            return original(self, task_id)
        if self.subscribed_to:
            key = self._get_key_for_task(task_id)
            if key in self.subscribed_to:
                # Whoever uses the subscription next leaves it.
                try:
                    self._pending_unsubscribe.add(key)
                except AttributeError:  # before Celery 5.7 upstream has no such list
                    vars(self).setdefault(_LEFT, {})[task_id] = None
        return None

    return cancel_for


def _subscribe_noted(consumer: Any) -> list[str]:
    """Leave what was left on a loop, subscribe to what was noted; return its ids."""
    noted, left = vars(consumer).get(_NOTED), vars(consumer).get(_LEFT)
    while left and not _on_loop():
        consumer.cancel_for(left.popitem()[0])
    if not noted or in_trampoline():
        return []
    found = list(noted)
    vars(consumer)[_WAITS] = True
    try:
        for task_id in found:
            consumer.consume_from(task_id)
    finally:
        vars(consumer)[_WAITS] = False
    return found


def _on_wait(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def on_wait_for_pending(self: Any, result: Any, **kwargs: Any) -> Any:
        # Before upstream looks at the store: what arrives in between is heard.
        _subscribe_noted(self)
        return original(self, result, **kwargs)

    return on_wait_for_pending


def _drain_events(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def drain_events(self: Any, timeout: float | None = None) -> Any:
        for task_id in _subscribe_noted(self):
            # It may have been published before; upstream would have subscribed then.
            meta = self.backend.get_task_meta(task_id)
            if meta["status"] in self.backend.READY_STATES:
                self.on_state_change(meta, None)
        return original(self, timeout=timeout)

    return drain_events


def subscribe_seams() -> list[Seam]:
    """Return the rows for the consumer of results."""
    import celery.backends.redis

    why = "a send must neither subscribe nor take the consumer's lock on the loop"
    rows = {
        "start": _start,
        "consume_from": _consume_from,
        "cancel_for": _cancel_for,
        "on_wait_for_pending": _on_wait,
        "drain_events": _drain_events,
    }
    consumer = vars(celery.backends.redis)["ResultConsumer"]
    return [Seam(consumer, name, make, "a", why) for name, make in rows.items()]
