"""Pytest plug-in that makes upstream's integration tests call the awaitable twins.

What the thread of the tests calls is awaited on a loop in another thread; whatever the
worker in the same process calls, and the twins themselves, stays as it is.
Self-contained, as `bridge_plugin` is, which installs the bridge before.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import Counter
from typing import Any

from celery import canvas, result
from celery.app import control, task

import celery_async_bridge

__all__ = ()

_loop = asyncio.new_event_loop()
_main = threading.main_thread()
_calls: Counter[str] = Counter()

_SENDS = ("apply_async", "delay")
_READS = ("get", "ready", "successful", "failed", "forget", "revoke")
_PLACES: dict[Any, tuple[str, ...]] = {
    **{
        vars(canvas)[name]: _SENDS
        for name in ("Signature", "_chain", "group", "_chord", "_basemap", "chunks")
    },
    task.Task: _SENDS,
    result.AsyncResult: _READS,
    result.ResultSet: (*_READS, "join", "join_native", "completed_count"),
    result.GroupResult: ("save", "delete"),
    control.Inspect: tuple(n for n in vars(control.Inspect) if not n.startswith("_")),
    control.Control: ("broadcast", "ping", "revoke", "terminate", "purge"),
}


def _redirect(cls: Any, name: str) -> None:
    original = vars(cls)[name]

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not _main:
            return original(self, *args, **kwargs)
        _calls[f"{cls.__name__}.{name}"] += 1

        async def twin() -> Any:
            return await getattr(self, f"a{name}")(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(twin(), _loop).result()

    setattr(cls, name, call)


def pytest_configure(config: Any) -> None:
    """Start the loop, and put the twins in the place of what tests call."""
    threading.Thread(target=_loop.run_forever, daemon=True).start()
    for cls, names in _PLACES.items():
        for name in names:
            if name in vars(cls) and hasattr(cls, f"a{name}"):
                _redirect(cls, name)


def pytest_sessionfinish(session: Any) -> None:
    """Say how often each was awaited."""
    print("\nawaited:", dict(_calls.most_common()))
    closing = asyncio.run_coroutine_threadsafe(celery_async_bridge.aclose(), _loop)
    closing.result(30)
    _loop.call_soon_threadsafe(_loop.stop)
