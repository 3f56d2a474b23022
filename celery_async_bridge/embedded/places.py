"""The brokers and stores of this process, by name."""

from __future__ import annotations

import os
import threading

from .broker import Broker
from .store import Store

__all__ = ("broker", "forget", "put", "store")

_lock = threading.RLock()
_brokers: dict[str, Broker] = {}
_stores: dict[str, Store] = {}
#: What was there when this process was forked off, and from whom.
_left: dict[str, int] = {}


def _check(name: str) -> None:
    if name in _left:
        raise ConnectionError(_why(name))


def _why(name: str) -> str:
    return (
        f"embedded://{name} lives in process {_left[name]}, and this is its child "
        f"{os.getpid()}: use threads (-P threads, -P solo) or a server, such as "
        "redis:// or amqp://"
    )


def broker(name: str) -> Broker:
    """Return the broker of a name; it begins to exist when it is first needed.

    Raises:
        ConnectionError: (the built-in one) it belongs to the process that this one was
            forked from; a copy of it would lose what is sent to it.
    """
    with _lock:
        _check(name)
        if name not in _brokers:
            _brokers[name] = Broker(name)
        return _brokers[name]


def store(name: str) -> Store:
    """Return the store of a name, likewise.

    Raises:
        ConnectionError: as for a broker.
    """
    with _lock:
        _check(name)
        if name not in _stores:
            _stores[name] = Store()
        return _stores[name]


def put(name: str, made: Broker) -> None:
    """Let a name mean this broker, as one with a clock of its own."""
    with _lock:
        _brokers[name] = made


def forget(name: str) -> None:
    """Drop a broker and a store with all that is in them.

    Connections that are open go on with the old one.
    """
    with _lock:
        _brokers.pop(name, None)
        _stores.pop(name, None)
        _left.pop(name, None)


def _after_fork() -> None:
    # Another thread of the parent may have held the lock at the fork.
    global _lock
    _lock = threading.RLock()
    _left.update(dict.fromkeys([*_brokers, *_stores], os.getppid()))
    for name, one in _brokers.items():
        one.left = _why(name)
    _brokers.clear()
    _stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
