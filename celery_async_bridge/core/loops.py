"""Resources that belong to one event loop of one process."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

__all__ = ("LoopLocal", "aclose_loop")

T = TypeVar("T")

_registry: weakref.WeakSet[LoopLocal[Any]] = weakref.WeakSet()


class LoopLocal(Generic[T]):
    """One value per running loop and pid, made on first use.

    Values must not refer to the loop strongly, or the weak keys would never die; those
    of loops that were closed without `aclose` are dropped at the next access.
    """

    def __init__(
        self, factory: Callable[[], T], close: Callable[[T], Any] | None = None
    ) -> None:
        self._factory = factory
        self._close = close
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._values: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = (
            weakref.WeakKeyDictionary()
        )
        _registry.add(self)

    def get(self) -> T:
        """Return the value of the running loop."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._forget_parent()
        value = self._values.get(loop)
        if value is None:
            with self._lock:
                self._sweep()
                value = self._values.get(loop)
                if value is None:
                    value = self._values[loop] = self._factory()
            if self._close is not None:
                _keep(loop)
        return value

    def peek(self) -> list[T]:
        """Return the values of all live loops of this process."""
        if self._pid != os.getpid():
            self._forget_parent()
        with self._lock:
            return [v for k, v in self._values.items() if not k.is_closed()]

    async def aclose(self) -> None:
        """Close the value of the running loop, if there is one."""
        value = self._values.pop(asyncio.get_running_loop(), None)
        if value is not None and self._close is not None and self._pid == os.getpid():
            outcome = self._close(value)
            if inspect.isawaitable(outcome):
                await outcome

    def _sweep(self) -> None:
        for loop in [loop for loop in self._values if loop.is_closed()]:
            del self._values[loop]

    def _forget_parent(self) -> None:
        # Never close what was inherited: a shutdown written into a shared socket
        # would reach the parent's peer.
        self._lock = threading.Lock()
        self._values = weakref.WeakKeyDictionary()
        self._pid = os.getpid()


_keepers: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, AsyncGenerator[None, None]
] = weakref.WeakKeyDictionary()


async def _keeper() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _keepers.pop(asyncio.get_running_loop(), None)
        await aclose_loop()


def _keep(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop close what it holds when it ends.

    `asyncio.run`, and servers, end the async generators of a loop before they close
    it. A task would do as well, but show up wherever tasks are counted.
    """
    if loop in _keepers:
        return
    for reference in _keepers.keyrefs():
        # A generator refers to its loop, and nobody has ended this one's.
        ended = reference()
        if ended is not None and ended.is_closed():
            _keepers.pop(ended, None)
    keeper = _keepers[loop] = _keeper()
    with suppress(StopIteration):
        keeper.asend(None).send(None)


async def aclose_loop() -> None:
    """Close what the bridge holds for the running loop.

    Raises:
        Exception: something could not be closed; everything else was.
    """
    # The keeper stays: dropped here, it would be ended by the loop a little later, and
    # close what was opened since.
    failure: Exception | None = None
    for resource in list(_registry):
        try:
            await resource.aclose()
        except Exception as exc:
            failure = failure or exc
    if failure is not None:
        raise failure
