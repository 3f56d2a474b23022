"""Declarations that a constructor owes, because it runs on a loop that must not wait.

Upstream's consumers and simple queues declare when they are made. On a connection that
the bridge has opened, code on the loop may make them as it always did: what they would
have declared is declared by what uses them first: awaited in a twin, else blocking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

from ...core.graft import Seam
from ...core.trampoline import in_trampoline
from ._route import connection_of

__all__ = ("note_opened", "owed_seams", "pay")

_OPENED = "_bridge_opened"
_OWED = "_bridge_owed"


def note_opened(connection: Any) -> Any:
    """Open the default channel, too, so that constructors find it; return it."""
    vars(connection)[_OPENED] = True
    return connection.default_channel


def _must_not_wait(channel: Any) -> bool:
    if channel is None or in_trampoline():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    connection = connection_of(channel)
    return (
        connection is not None
        and _OPENED in vars(connection)
        and connection.connected
        and (channel is not connection or connection._default_channel is not None)
    )


def pay(consumer: Any) -> None:
    """Declare what a consumer still owes, and set its prefetch limit."""
    if _OWED not in vars(consumer):
        return
    if consumer.auto_declare:
        consumer.declare()
    if consumer.prefetch_count is not None:
        consumer.qos(prefetch_count=consumer.prefetch_count)
    vars(consumer).pop(_OWED, None)


def _revive(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def revive(self: Any, channel: Any) -> Any:
        mine = vars(self)
        mine.pop(_OWED, None)
        if mine.get("_active_queue_no_ack") or not _must_not_wait(channel):
            return original(self, channel)
        declares, limit = self.auto_declare, self.prefetch_count
        self.auto_declare, self.prefetch_count = False, None
        try:
            original(self, channel)
        finally:
            self.auto_declare, self.prefetch_count = declares, limit
        mine[_OWED] = True

    return revive


def _paid(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def paid(self: Any, *args: Any, **kwargs: Any) -> Any:
        pay(getattr(self, "consumer", self))
        return original(self, *args, **kwargs)

    return paid


def owed_seams() -> list[Seam]:
    """Return the rows for constructors that would block, and for what they delay."""
    from kombu.messaging import Consumer
    from kombu.simple import SimpleBase

    why = "what a constructor did not declare is declared before it is used"
    rows = [
        Seam(Consumer, "revive", _revive, "b", "a constructor must not block the loop")
    ]
    for owner, names in (
        (Consumer, ("consume", "purge")),
        (SimpleBase, ("get_nowait", "put", "qsize")),
    ):
        rows += [Seam(owner, name, _paid, "b", why) for name in names]
    return rows
