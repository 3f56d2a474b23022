"""The table of upstream attributes that behave differently, and when.

Everywhere else they pass straight through. Letters: (a) inside a bridge call, (b) on
objects of a connection that the bridge opened, (c) on awaitable task results, (d) an
observer that never changes the outcome. Drivers contribute rows of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from .core.conversation import SLICE, current_conversation
from .core.gate import go_on
from .core.graft import Seam
from .core.registry import driver_for, loaded
from .core.trampoline import await_, in_trampoline
from .core.turn import turn_of
from .mixins.celery import _asking
from .mixins.celery._beneath import beneath_seams
from .mixins.celery._pools import pool_seams
from .mixins.celery._producers import producer_seams
from .mixins.celery._receivers import receiver_seams
from .mixins.celery._stacks import stack_seams
from .mixins.celery.app._body import body_seams
from .mixins.celery.fixups.django import fixup_seams
from .mixins.kombu._declared import declare_seams
from .mixins.kombu._event import delivered_here, drained, drained_blocking
from .mixins.kombu._owed import owed_seams
from .mixins.kombu._pooling import polling
from .mixins.kombu._receiving import receiving_seams
from .mixins.kombu._route import scheme_of
from .mixins.kombu.transport._whole import whole_seams
from .mixins.kombu.transport.virtual._headers import headers_seams

__all__ = ("seams",)


def _drain_events(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def drain_events(self: Any, **kwargs: Any) -> Any:
        timeout = kwargs.pop("timeout", None)
        talk = current_conversation()
        if not kwargs and in_trampoline():
            driver = driver_for(scheme_of(self), "broker")
            if driver is not None and "broker" in driver.waits:
                here = getattr(driver, "drain_here", None)
                try:
                    if here is not None and delivered_here(self, here, timeout):
                        return None
                    return await_(drained(self, driver.drain, timeout))
                except TimeoutError as exc:
                    raise TimeoutError("timed out") from exc
        if not kwargs and talk is not None:
            wait = _blocking_wait(self, partial(original, self))
            # A call may drain a connection that it opened itself (`ConsumerMixin`):
            # its turn keeps the acks of other threads out of the running slice.
            return drained_blocking(self, wait, talk, turn_of(self), timeout)
        return original(self, timeout=timeout, **kwargs)

    # By this a twin sees that nobody has covered it.
    drain_events.bridge_itself = drain_events  # type: ignore[attr-defined]
    return drain_events


def _blocking_wait(
    connection: Any, original: Callable[..., Any]
) -> Callable[[float], Any]:
    driver = driver_for(scheme_of(connection), "broker")
    blocking = getattr(driver, "drain_blocking", None)
    if blocking is None:
        return lambda seconds: original(timeout=seconds)
    wait = partial(blocking, connection)
    # It ends at once when the bell that it leaves with the conversation rings.
    wait.rings = True  # type: ignore[attr-defined]
    return wait


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)
    # What failed together is tried again together.
    await go_on()


def _sleep(original: Callable[[float], None]) -> Callable[[float], None]:
    @wraps(original)
    def sleep(seconds: float) -> None:
        if in_trampoline():
            return await_(_pause(seconds))
        talk = current_conversation()
        if talk is not None:
            return talk.sleep(seconds)
        return original(seconds)

    return sleep


def _acquire(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def acquire(self: Any, block: bool = False, timeout: float | None = None) -> Any:
        if polling.get():
            return original(self, block=False)
        if not block:
            return original(self, block=False, timeout=timeout)
        if not in_trampoline():
            return _acquire_blocking(self, original, timeout)
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        # Kombu's LIFO queue wakes one blocked thread per release and knows no loops;
        # pools of native transports run dry only under a burst, so asking again after
        # a short sleep is enough.
        pause = 0.001
        while True:
            try:
                return original(self, block=False)
            except self.LimitExceeded:
                if end is not None and loop.time() >= end:
                    raise
            await_(asyncio.sleep(pause))
            pause = min(pause * 2, 0.05)

    return acquire


def _acquire_blocking(pool: Any, original: Any, timeout: float | None) -> Any:
    talk = current_conversation()
    if talk is None:
        return original(pool, block=True, timeout=timeout)
    # In slices: calls that hold one each and want another wait for ever, and their
    # threads must come back when their callers have given up.
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        talk.check()
        left = SLICE if end is None else min(SLICE, end - time.monotonic())
        try:
            found = original(pool, block=True, timeout=max(left, 0.0))
        except pool.LimitExceeded:
            if end is not None and time.monotonic() >= end:
                raise
            continue
        if talk.left:
            found.release()
        talk.check()
        return found


def _prepare(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def prepare(self: Any, p: Any) -> Any:
        if polling.get() and not callable(p) and p._channel is None:
            # Its last connection has gone back to the pool: if there is none now,
            # upstream releases the producer and with it that connection once more.
            p.__connection__ = None
        return original(self, p)

    return prepare


def seams() -> list[Seam]:
    """Return all rows: the bridge's own and those of the drivers in use."""
    import kombu.connection
    import kombu.mixins
    import kombu.pools
    import kombu.resource
    import kombu.transport.virtual.base
    import kombu.utils.functional

    rows = [
        Seam(
            kombu.connection.Connection,
            "drain_events",
            _drain_events,
            "a",
            "a wait of a bridge call must be awaited or cancellable",
        ),
        Seam(
            kombu.resource.Resource,
            "acquire",
            _acquire,
            "a",
            "an empty pool must not block the loop",
        ),
        Seam(
            kombu.pools.ProducerPool,
            "prepare",
            _prepare,
            "a",
            "a producer that gets no connection must not release its last one twice",
        ),
    ]
    rows += [
        Seam(module, "sleep", _sleep, "a", "a retry pause must not block the loop")
        for module in (
            kombu.utils.functional,
            kombu.mixins,
            kombu.transport.virtual.base,
        )
    ]
    rows += [
        *declare_seams(),
        *owed_seams(),
        *receiving_seams(),
        *whole_seams(),
        *headers_seams(),
        *_asking.seams(),
        *producer_seams(),
        *beneath_seams(),
        *stack_seams(),
        *body_seams(),
        *fixup_seams(),
        *pool_seams(),
        *receiver_seams(),
    ]
    for driver in loaded():
        rows += driver.install()
    return rows
