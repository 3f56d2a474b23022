"""Find what blocks an event loop: waits in sync code on a thread that runs a loop.

`tripwire()` watches the calls in which Python code waits for something: operations of
sockets in blocking mode, name look-ups, `time.sleep`, conditions, and locks that
somebody else holds. What asks for no wait (`blocking=False`, a timeout of zero, a
non-blocking socket) never trips. Locks that were made before the wire was laid are not
watched: lay it before the app and its connections are made.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from types import CellType, FunctionType
from typing import Any

__all__ = ("Trip", "TripError", "Tripwire", "tripwire")

_SOCKET_METHODS = (
    "accept",
    "connect",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "send",
    "sendall",
    "sendmsg",
    "sendto",
)


@dataclass(frozen=True)
class Trip:
    """One wait on the thread of a running loop."""

    what: str
    stack: str

    def __str__(self) -> str:
        return f"{self.what} on the thread of a running event loop:\n{self.stack}"


class TripError(AssertionError):
    """Sync code was about to wait on the thread of a running loop."""


@dataclass
class Tripwire:
    """What `tripwire()` gives.

    Attributes:
        strict: whether a trip raises.
        trips: what was found so far.
        armed: set it to False around a wait that is meant.
    """

    strict: bool = True
    trips: list[Trip] = field(default_factory=list)
    armed: bool = True

    def touch(self, what: str) -> None:
        """Note a wait, if this thread runs a loop.

        Raises:
            TripError: the wire is strict.
        """
        if not self.armed or asyncio._get_running_loop() is None:
            return
        # The loop's own house-keeping (joining its executor's threads as it closes).
        if sys._getframe(2).f_globals.get("__name__", "").startswith("asyncio."):
            return
        stack = traceback.format_list(traceback.extract_stack()[-14:-2])
        trip = Trip(what, "".join(stack))
        self.trips.append(trip)
        if self.strict:
            raise TripError(str(trip))


@contextmanager
def tripwire(*, strict: bool = True) -> Iterator[Tripwire]:
    """Watch for waits on threads that run an event loop.

    Arguments:
        strict: raise `TripError` where a wait would begin. All that was found is also
            raised at the end, so that an `except` clause on the way cannot hide it.
            False: only note it in `trips`.

    Raises:
        TripError: something waited.
    """
    wire = Tripwire(strict)
    with ExitStack() as stack:
        # Locks that were made meanwhile live on and keep the wire.
        stack.callback(setattr, wire, "armed", False)
        for owner, name, value in list(_watched(wire)):
            _replace(stack, owner, name, value)
        yield wire
    if strict and wire.trips:
        raise TripError("\n".join(str(trip) for trip in wire.trips))


def _replace(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, CellType):
        stack.callback(setattr, owner, name, owner.cell_contents)
    elif name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:
        stack.callback(delattr, owner, name)
    setattr(owner, name, value)


def _watched(wire: Tripwire) -> Iterator[tuple[Any, str, Any]]:
    for name in _SOCKET_METHODS:
        if hasattr(socket.socket, name):
            original = getattr(socket.socket, name)
            yield socket.socket, name, _socket_method(wire, name, original)
    for name in ("getaddrinfo", "gethostbyname"):
        look_up = _always(wire, f"socket.{name}", getattr(socket, name))
        yield socket, name, look_up
    yield from _sleeps(wire)
    yield threading.Condition, "wait", _condition_wait(wire, threading.Condition.wait)
    yield threading.Thread, "join", _always(wire, "Thread.join", threading.Thread.join)
    for name in ("Lock", "RLock"):
        yield threading, name, _lock_maker(wire, name, getattr(threading, name))


def _always(wire: Tripwire, what: str, original: Callable[..., Any]) -> Any:
    @wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        wire.touch(what)
        return original(*args, **kwargs)

    return watched


def _socket_method(wire: Tripwire, name: str, original: Callable[..., Any]) -> Any:
    @wraps(original)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.gettimeout() != 0:
            wire.touch(f"socket.{name}() in blocking mode")
        return original(self, *args, **kwargs)

    return watched


def _sleeps(wire: Tripwire) -> Iterator[tuple[Any, str, Any]]:
    original = time.sleep

    @wraps(original)
    def sleep(seconds: float) -> None:
        if seconds > 0:
            wire.touch(f"time.sleep({seconds})")
        original(seconds)

    # Modules that did `from time import sleep` hold the function itself.
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None) or {}
        for name, value in list(names.items()):
            if value is original:
                yield module, name, sleep
            elif (
                type(value) is FunctionType
                and value.__closure__
                and vars(value).get("__wrapped__") is original
            ):
                # A seam that may sleep for real: watch what it holds, not what it does.
                for cell in value.__closure__:
                    if cell.cell_contents is original:
                        yield cell, "cell_contents", sleep


def _condition_wait(wire: Tripwire, original: Callable[..., Any]) -> Any:
    @wraps(original)
    def wait(self: Any, timeout: float | None = None) -> Any:
        if timeout != 0 and not _starts_a_thread():
            wire.touch("a wait for a condition, an event, a queue or a future")
        return original(self, timeout)

    return wait


#: `Thread.start` waits until the new thread has begun: not for anybody else. Its event
#: has a lock, for which it may wait, too, as may an executor for that of its count.
_STARTING = frozenset(
    {
        threading.Thread.start.__code__,
        ThreadPoolExecutor._adjust_thread_count.__code__,
    }
)


def _starts_a_thread() -> bool:
    frame: Any = sys._getframe(2)
    for _ in range(6):
        if frame is None or frame.f_code in _STARTING:
            return frame is not None
        frame = frame.f_back
    return False


#: Whose locks are held for a few instructions and never across a wait.
_LANES = "celery_async_bridge.core."
#: The same of a future; who waits for its outcome waits for its condition.
_FUTURES = "concurrent.futures._base"


class _Lock:
    """A lock that tells the wire when it is held by somebody else."""

    def __init__(self, wire: Tripwire, lock: Any) -> None:
        self._wire = wire
        self._lock = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock."""
        if self._lock.acquire(False):
            return True
        if not blocking or timeout == 0:
            return False
        if not _starts_a_thread():
            self._wire.touch("a wait for a lock")
        return bool(self._lock.acquire(True, timeout))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def _module_of(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _lock_maker(wire: Tripwire, name: str, original: Callable[[], Any]) -> Any:
    def make() -> Any:
        frame: Any = sys._getframe(1)
        if _module_of(frame).startswith(_LANES):
            return original()
        # `Condition` makes its own.
        if frame.f_back is not None and _module_of(frame.f_back) == _FUTURES:
            return original()
        return _Lock(wire, original())

    make.__name__ = make.__qualname__ = name
    return make
