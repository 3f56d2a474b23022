"""Receivers of worker signals that are coroutine functions.

Upstream calls them and drops the coroutines. Here they are awaited, one after the
other, before the signal returns: on the loop of the asyncio pool, so that what they
open is good for the tasks; in a worker with another pool on a loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutine, iscoroutinefunction
from typing import Any

from ...core.graft import Seam
from ._stacks import host_loop
from .app._body import run_alone

__all__ = ("SIGNALS", "move_in", "move_out", "receiver_seams")

SIGNALS = frozenset(
    {
        "worker_init",
        "worker_process_init",
        "worker_ready",
        "worker_process_shutdown",
        "worker_shutdown",
    }
)

Waiting = tuple[Any, "Coroutine[Any, Any, Any]"]


class _Home:
    """The loop of this process's pool."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        #: What `worker_init` has started before there was a pool.
        self.early: list[Waiting] = []
        self.close: Callable[[], None] | None = None

    def leave(self) -> None:
        """Close the loop, if that was left to us."""
        close, self.close = self.close, None
        self.loop = None
        if close is not None:
            close()


_home = _Home()


def move_in(loop: asyncio.AbstractEventLoop) -> None:
    """Await receivers on `loop`, which runs in another thread, those of before, too."""
    _home.loop = loop
    early, _home.early = _home.early, []
    for receiver, value in early:
        _outcome(receiver, value)


def move_out(close: Callable[[], None], *, wait: bool) -> None:
    """Have the loop of `move_in` closed: now, or after `worker_shutdown`.

    Arguments:
        close: closes it.
        wait: whether that signal will be sent.
    """
    from celery.signals import worker_shutdown

    _home.close = close
    signal: Any = worker_shutdown
    if not wait or not any(map(iscoroutinefunction, signal._live_receivers(None))):
        _home.leave()


def _awaiting(signal: Any) -> Callable[[Any], Callable[..., Any]]:
    def make(original: Any) -> Callable[..., Any]:
        @wraps(original)
        def send(sender: Any, **named: Any) -> Any:
            responses = type(signal).send(signal, sender, **named)
            if signal.name == "worker_init" and _is_ours(sender):
                _home.early += [row for row in responses if iscoroutine(row[1])]
                return [row for row in responses if not iscoroutine(row[1])]
            found = [
                (receiver, _outcome(receiver, value) if iscoroutine(value) else value)
                for receiver, value in responses
            ]
            if signal.name == "worker_shutdown":
                _home.leave()
            return found

        return send

    return make


def _is_ours(sender: Any) -> bool:
    """Whether a worker that is being made will have the asyncio pool, and its loop."""
    from celery import concurrency

    if host_loop() is not None:
        return False
    asked: Any = getattr(sender, "pool_cls", None)
    pool = concurrency.get_implementation(asked)
    return bool(getattr(pool, "awaits_receivers", False))


def _outcome(receiver: Any, value: Coroutine[Any, Any, Any]) -> Any:
    loop = host_loop() or _home.loop
    try:
        if loop is None:
            return run_alone(value)
        # Not as the body of a task, which ends with the worker: some come after that.
        return asyncio.run_coroutine_threadsafe(value, loop).result()
    except Exception as exc:
        # As upstream does: what a receiver raises is a response.
        _report(receiver, exc)
        return exc


def _report(receiver: Any, exc: Exception) -> None:
    from celery.utils.log import get_logger

    logger = get_logger("celery.worker")
    logger.error("Receiver %r raised %r", receiver, exc, exc_info=exc)


def receiver_seams() -> list[Seam]:
    """Return the rows that await async receivers of worker signals.

    On these signals and not on their class: others are sent with every message.
    """
    from celery import signals

    why = "the coroutine of an async receiver of a worker's signal must be awaited"
    found = [getattr(signals, name) for name in sorted(SIGNALS)]
    return [Seam(signal, "send", _awaiting(signal), "c", why) for signal in found]
