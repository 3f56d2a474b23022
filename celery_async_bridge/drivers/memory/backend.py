"""Waiting for results in `cache+memory://`."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from ...core.conversation import SLICE, current_conversation
from ...core.graft import Seam
from ...core.trampoline import in_trampoline
from .notify import BOARD, Bell, LoopBell, bell_here

__all__ = ("key_of", "seams", "wait", "wait_all_by", "wait_by")


def key_of(backend: Any, task_id: Any) -> tuple[Hashable, Any]:
    """Return what rings when something is stored for a task."""
    # A store that is not the only one of the process says which one it is.
    return (getattr(backend, "place", "result"), backend.get_key_for_task(task_id))


@contextmanager
def _watching(bell: Bell, keys: list[tuple[Hashable, Any]]) -> Iterator[None]:
    BOARD.join(bell, keys)
    try:
        yield
    finally:
        BOARD.leave(bell, keys)


def _ready(backend: Any, task_id: str, bell: Bell) -> Any:
    """Return the meta of a task if it is ready, else None."""
    from celery.states import READY_STATES

    value = bell.value
    meta = backend.get_task_meta(task_id)
    if meta["status"] not in READY_STATES and value is not None:
        # The store keeps 5000 keys: under a burst the result may have come and gone.
        meta = backend.decode_result(value)
    return meta if meta["status"] in READY_STATES else None


async def wait(backend: Any, task_id: str, timeout: float | None) -> Any:
    """Return the meta of a task as soon as its state is ready.

    Raises:
        TimeoutError: it was not ready within `timeout` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    bell = LoopBell()
    with _watching(bell, [key_of(backend, task_id)]):
        while True:
            bell.arm()
            meta = _ready(backend, task_id, bell)
            if meta is not None:
                return meta
            left = None if end is None else end - time.monotonic()
            if (left is not None and left <= 0) or not await bell.wait(left):
                raise TimeoutError


def _is_memory(backend: Any) -> bool:
    return getattr(backend, "backend", None) == "memory"


class _Clock:
    """Pauses of a wait in sync code: by the bell, at most one interval long."""

    def __init__(
        self, bell: Bell, timeout: float | None, interval: float, ticks: Any
    ) -> None:
        self._bell = bell
        self._end = None if timeout is None else time.monotonic() + timeout
        self._ticks = ticks
        self._interval = interval if ticks else None

    def pause(self, message: str) -> None:
        """Wait for a ring, calling `on_interval` as upstream's poll would.

        Raises:
            TimeoutError: (Celery's) the time is over.
        """
        from celery.exceptions import TimeoutError as CeleryTimeoutError

        if self._ticks:
            self._ticks()
        if self._end is not None and time.monotonic() >= self._end:
            raise CeleryTimeoutError(message)
        talk = None if in_trampoline() else current_conversation()
        slices = [self._interval, None if talk is None else SLICE]
        if self._end is not None:
            slices.append(max(self._end - time.monotonic(), 0.0))
        self._bell.hold(min((s for s in slices if s is not None), default=None))
        if talk is not None:
            talk.check()


def wait_by(
    bell: Bell,
    backend: Any,
    task_id: str,
    timeout: float | None,
    interval: float,
    on_interval: Callable[[], object] | None,
) -> Any:
    """Return the meta of a task once it is ready; `bell` says when to look again.

    Raises:
        TimeoutError: (Celery's) it was not ready within `timeout` seconds.
    """
    backend._ensure_not_eager()
    clock = _Clock(bell, timeout, interval, on_interval)
    with _watching(bell, [key_of(backend, task_id)]):
        while True:
            bell.arm()
            meta = _ready(backend, task_id, bell)
            if meta is not None:
                return meta
            clock.pause("The operation timed out.")


def wait_all_by(
    bell: Bell,
    backend: Any,
    original: Callable[..., Any],
    task_ids: Any,
    timeout: float | None,
    interval: float | None,
    on_interval: Callable[[], object] | None,
    **options: Any,
) -> Iterator[Any]:
    """Yield id and meta of each task once it is ready; `original` is upstream's look.

    Raises:
        TimeoutError: (Celery's) some were not ready within `timeout` seconds.
    """
    left = set(task_ids)
    clock = _Clock(bell, timeout, interval or 0.5, on_interval)
    with _watching(bell, [key_of(backend, task_id) for task_id in left]):
        while left:
            bell.arm()
            # One pass of upstream's loop: without the pause at its end.
            found = original(backend, set(left), None, 0, max_iterations=1, **options)
            for task_id, meta in found:
                left.discard(task_id)
                yield task_id, meta
            if left:
                clock.pause(f"Operation timed out ({timeout})")


def _wait_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def wait_for(
        self: Any,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        bell = bell_here() if _is_memory(self) else None
        if bell is None:
            return original(self, task_id, timeout, interval, no_ack, on_interval)
        return wait_by(bell, self, task_id, timeout, interval, on_interval)

    return wait_for


def _get_many(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_many(
        self: Any,
        task_ids: Any,
        timeout: float | None = None,
        interval: float | None = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        max_iterations: int | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        bell = bell_here() if _is_memory(self) and not max_iterations else None
        options = {"no_ack": no_ack, "on_message": on_message, **kwargs}
        if bell is None:
            options |= {"on_interval": on_interval, "max_iterations": max_iterations}
            yield from original(self, task_ids, timeout, interval, **options)
            return
        yield from wait_all_by(
            bell, self, original, task_ids, timeout, interval, on_interval, **options
        )

    return get_many


def _set(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def set(self: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        done = original(self, key, value, *args, **kwargs)
        BOARD.ring_all(("result", key), value)
        return done

    return set


def seams() -> list[Seam]:
    """Return the observer of stored results and the two waits that would poll."""
    from celery.backends import cache
    from celery.backends.base import BaseKeyValueStoreBackend, SyncBackendMixin

    return [
        Seam(
            vars(cache)["DummyClient"],
            "set",
            _set,
            "d",
            "a wait for a result ends when it is stored",
        ),
        Seam(
            SyncBackendMixin,
            "wait_for",
            _wait_for,
            "a",
            "a bridge call waits for the event instead of polling the store",
        ),
        Seam(
            BaseKeyValueStoreBackend,
            "get_many",
            _get_many,
            "a",
            "a bridge call waits for the events instead of polling the store",
        ),
    ]
