"""Record the Celery signals that a call fires, in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .outcome import describe, named

__all__ = ("recorded_signals",)


def _all_signals() -> dict[str, Any]:
    from celery import signals
    from celery.utils.dispatch import Signal

    return {
        name: signal
        for name, signal in vars(signals).items()
        if isinstance(signal, Signal)
    }


def _sender(sender: Any) -> Any:
    if sender is None or isinstance(sender, str):
        return sender
    return getattr(sender, "name", None) or named(sender)


@contextmanager
def recorded_signals() -> Iterator[list[Any]]:
    """Give a list that every signal is written to: name, sender, keyword arguments."""
    fired: list[Any] = []
    lock = threading.Lock()
    receivers = []

    def recorder(name: str) -> Any:
        def receive(sender: Any = None, **kwargs: Any) -> None:
            kwargs.pop("signal", None)
            entry = [name, _sender(sender), describe(kwargs)]
            with lock:
                fired.append(entry)

        return receive

    for name, signal in _all_signals().items():
        receive = recorder(name)
        signal.connect(receive, weak=False)
        receivers.append((signal, receive))
    try:
        yield fired
    finally:
        for signal, receive in receivers:
            signal.disconnect(receive)
