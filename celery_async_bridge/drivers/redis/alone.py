"""Calls that come one by one, and have the connection to themselves."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from .address import address_of

if TYPE_CHECKING:
    from ...core.trampoline import Hand
    from .consume import Desk
    from .ledger import Ledger

__all__ = ("Alone", "reads")


class Alone:
    """Lets a call that settles a message of a channel start at once.

    It need not be let in behind others if nothing is under way to the server, and
    nobody waits. The second of many calls that come together is not alone.

    Arguments:
        channel: has delivered the message.
        desk: that of the channel's transport.
        ledger: where the message is noted.
    """

    __slots__ = ("_channel", "_desk", "_ledger")

    def __init__(self, channel: Any, desk: Desk, ledger: Ledger) -> None:
        self._channel = weakref.ref(channel)
        self._desk = desk
        self._ledger = ledger

    def __call__(self) -> Hand | None:
        """Return what runs the call, or None."""
        if not self._ledger.mux.idle or not self._desk.here:
            return None
        channel: Any = self._channel()
        if channel.connection is None or reads(channel):
            return None
        return self._desk.hand


def reads(channel: Any) -> bool:
    """Whether sync code has begun to read from a channel's own sockets."""
    return bool(
        getattr(channel, "_in_poll", None)
        or getattr(channel, "_in_listen", None)
        or (channel._consumers and address_of(channel.pool) is None)
    )
