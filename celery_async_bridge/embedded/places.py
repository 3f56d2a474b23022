"""The brokers and stores of this process, by name; the name of a file begins with /."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from .broker import Broker
from .clock import CLOCK
from .durable import recovery
from .durable.journal import Journal
from .store import Store

if TYPE_CHECKING:
    from .durable.file import File

__all__ = ("broker", "brokers", "forget", "put", "store")

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

    The one of a file is not to be used before its journal has been opened.

    Raises:
        ConnectionError: (the built-in one) it belongs to the process that this one was
            forked from; a copy of it would lose what is sent to it.
    """
    with _lock:
        _check(name)
        if name not in _brokers:
            _make(name)
        return _brokers[name]


def store(name: str) -> Store:
    """Return the store of a name, likewise.

    Raises:
        ConnectionError: as for a broker.
    """
    with _lock:
        _check(name)
        if name not in _stores:
            _make(name)
        return _stores[name]


def _make(name: str) -> None:
    if not os.path.isabs(name):
        _brokers.setdefault(name, Broker(name, CLOCK))
        _stores.setdefault(name, Store(CLOCK))
        return
    made = Broker(name, CLOCK)

    def load(file: File, broker: Broker) -> int:
        last = recovery.load(file, broker)
        recovery.load_results(file, kept)
        return last

    def ended() -> None:
        with _lock:
            if _brokers.get(name) is made:
                del _brokers[name], _stores[name]

    journal = made.journal = Journal(name, made, load, ended)
    kept = Store(CLOCK, journal=journal, lock=made.lock)
    _brokers[name], _stores[name] = made, kept


def brokers() -> list[Broker]:
    """Return those that exist, and are not being opened."""
    with _lock:
        found = list(_brokers.values())
    return [one for one in found if one.journal is None or one.journal.is_open]


def put(name: str, made: Broker) -> None:
    """Let a name mean this broker, as one with a clock of its own."""
    with _lock:
        _brokers[name] = made


def forget(name: str) -> None:
    """Drop a broker and a store with all that is in them, or close their file.

    Connections that are open go on with the old one; those to a file fail.

    Raises:
        OSError: something could not be written to the file.
    """
    with _lock:
        made = _brokers.pop(name, None)
        _stores.pop(name, None)
        _left.pop(name, None)
    if made is not None and made.journal is not None:
        made.journal.close(recovery.end)


def _close_all() -> None:
    for name in [name for name, one in _brokers.items() if one.journal is not None]:
        # What was confirmed is written; whoever waited has been told of a failure.
        with suppress(OSError):
            forget(name)


atexit.register(_close_all)


def _after_fork() -> None:
    # Another thread of the parent may have held the lock at the fork.
    global _lock
    _lock = threading.RLock()
    _left.update(dict.fromkeys([*_brokers, *_stores], os.getppid()))
    for name, one in _brokers.items():
        one.left = _why(name)
        if one.journal is not None:
            one.journal.leave()
    _brokers.clear()
    _stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
