"""A reply queue for each call, of which nothing is left when the call has ended."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from contextlib import suppress
from functools import cache
from typing import Any

from ...core.registry import driver_for
from ...core.trampoline import await_, in_trampoline
from ._route import broker_of

__all__ = ("alone",)

#: Seconds that a reply may be under way to a queue that has just been unbound: the node
#: has looked up where it goes, and has yet to put it there.
UNDER_WAY = 0.1
#: Seconds for which a queue that may still get such a reply outlives its call.
LINGERS = 2.0


def alone(bound: Any) -> Any:
    """Make a copy of a mailbox fit for one call: give it a reply queue of its own.

    Upstream names the queue after the thread that asks first, and tells the nodes the
    name of the thread that sends: in one thread per call the two agree. But it names it
    after the address of the copy, too, which the next call may get, and with it the
    late replies of this one.
    """
    if not isinstance(bound, _Alone):
        cls: Any = type(bound)
        bound.__class__ = _class_of(cls)
    vars(bound).pop("reply_queue", None)
    bound._bridge_oid = str(uuid.uuid4())
    return bound


@cache
def _class_of(cls: type) -> type:
    return type(cls.__name__, (_Alone, cls), {"__module__": cls.__module__})


class _Alone:
    """What the class of such a copy has before upstream's."""

    connection: Any
    reply_exchange: Any
    reply_queue: Any
    _bridge_oid: str

    @property
    def oid(self) -> str:
        return self._bridge_oid

    def _broadcast(self, *args: Any, **kwargs: Any) -> Any:
        broadcast: Any = super()._broadcast  # type: ignore[misc]
        given = inspect.signature(broadcast).bind(*args, **kwargs).arguments
        channel = given.get("channel")
        try:
            replies = broadcast(*args, **kwargs)
        except BaseException as exc:
            if given.get("reply"):
                with suppress(Exception):
                    self._give_up(channel, exc)
            raise
        if given.get("reply") and given.get("limit"):
            with suppress(Exception):
                self._bury(channel, LINGERS)
        return replies

    def _give_up(self, channel: Any, error: BaseException) -> None:
        """Unbind the queue, which upstream does only once it waits for replies."""
        connection = self.connection
        if isinstance(error, connection.connection_errors) or not connection.connected:
            return
        channel = channel or connection.default_channel
        channel.after_reply_message_received(self.reply_queue.name)
        try:
            _pause(UNDER_WAY)
        finally:
            self._bury(channel, 0)

    def _bury(self, channel: Any, lingers: float) -> None:
        driver = driver_for(broker_of(self.connection).scheme, "broker")
        bury = getattr(driver, "bury", None)
        if bury is not None:
            channel = channel or self.connection.default_channel
            binding = self.reply_queue.name, self.reply_exchange.name, self.oid
            bury(channel, binding, lingers)


def _pause(seconds: float) -> None:
    if in_trampoline():
        await_(asyncio.sleep(seconds))
    else:
        # The caller of a thread has left, or waits for its error.
        time.sleep(seconds)
