"""What is due now and then while messages are awaited: bindings and old messages."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from functools import partial
from typing import Any

from ...core.trampoline import spawn
from .ledger import ledger_of

__all__ = ("Tending",)

#: Messages that are restored under one of Kombu's locks, and its seconds at most:
#: whoever is killed while it has the lock keeps all others from restoring anything.
RESTORED, LOCKED = 100, 10

_logger = logging.getLogger(__name__)


class Tending:
    """Looks after what the channels of one connection consume from."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self, channels: list[Any]) -> None:
        """Do what is due, if it is time, beside the running call."""
        if self._loop.time() < self._due or self._task is not None:
            return
        channels = [one for one in channels if one.active_queues]
        if not channels:
            return
        interval = getattr(channels[0], "unacked_restore_interval", 10)
        self._due = self._loop.time() + (interval if interval > 0 else 10)
        # In an empty context: what the first call has in its own is its affair.
        self._task = contextvars.Context().run(
            self._loop.create_task, _tended(channels)
        )
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            # Those who wait find out by themselves if the server is away.
            _logger.debug("looking after messages failed", exc_info=task.exception())

    def stop(self) -> None:
        """Refresh nothing more of what ends now; others are looked after later."""
        if self._task is not None:
            self._task.cancel()
            self._due = 0.0


async def _tended(channels: list[Any]) -> None:
    for channel in channels:
        refresh = getattr(channel, "maybe_refresh_binding_expiry", None)
        if refresh is not None and channel._expires:
            await spawn(refresh)
    # One is enough: the messages are those of all consumers of the server.
    channel = channels[0]
    ledger = ledger_of(channel)
    if ledger is None or not channel.ack_emulation:
        return
    # First a look without Kombu's lock, and then for a part at a time.
    limit = getattr(channel, "unacked_restore_limit", None)
    rest = float("inf") if limit is None else limit
    before = time.time() - channel.visibility_timeout
    old = await ledger.count_before(before)
    while old and rest > 0:
        count = int(min(rest, RESTORED))
        await spawn(partial(_restore_visible, channel, count))
        rest -= count
        left = await ledger.count_before(before)
        if left >= old:  # somebody else is at it
            return
        old = left


def _restore_visible(channel: Any, count: int) -> None:
    qos = channel.qos
    seconds = qos.unacked_mutex_expire
    # The lock saves work; what is restored is safe without it.
    qos.unacked_mutex_expire = min(seconds, LOCKED)
    try:
        qos.restore_visible(num=count, interval=1)
    finally:
        qos.unacked_mutex_expire = seconds
