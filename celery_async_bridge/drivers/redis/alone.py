"""Calls that come one by one, and have the connection to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .holding import held_by

if TYPE_CHECKING:
    from ...core.trampoline import Hand
    from .consume import Desk

__all__ = ("alone",)


def alone(desk: Desk, channel: Any) -> Hand | None:
    """Return what runs a call that settles a message of a channel at once, or None.

    It need not be let in behind others: nothing is under way to the server, and nobody
    waits. The second of many calls that come together is not alone.

    Arguments:
        desk: that of the channel's transport.
        channel: has delivered the message.
    """
    holding = held_by(channel)
    ledger = None if holding is None else holding.ledger
    if ledger is None or not desk.here or not ledger.here:
        return None
    return desk.hand if ledger.mux.idle else None
