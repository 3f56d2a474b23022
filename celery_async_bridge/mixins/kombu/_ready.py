"""Calls that can be made at once: nothing has to be found out or waited for first."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.registry import is_armed
from ._crew import crew_of
from ._event import delivered
from ._route import connection_of

if TYPE_CHECKING:
    from ...core.trampoline import Hand

__all__ = ("own_event", "ready_hand", "sending_hand")


def own_event(
    connection: Any, options: dict[str, Any], *, waits: bool = True
) -> bool | Awaitable[bool] | None:
    """Deliver an event in the own way of the connection's driver, if it has one.

    A driver that has waited for a connection leaves `_bridge_at_once` with it.

    Arguments:
        connection: Kombu's.
        options: of a call of its `drain_events`; see `delivered`, which says what is
            returned, too.
        waits: whether to wait for one if there is none.
    """
    kept = connection.__dict__
    at_once = kept.get("_bridge_at_once")
    if at_once is None or len(options) != ("timeout" in options):
        return None
    if crew_of(connection) is not None:
        return None  # what ends counts as well as what comes
    drain = type(connection).drain_events
    # Whoever has covered it wants to see the call; without a seam we are uninstalled.
    if getattr(drain, "bridge_itself", None) is not drain or "drain_events" in kept:
        return None
    if not waits:
        at_once = partial(at_once, waits=False)
    return delivered(connection, at_once, options)


def sending_hand(producer: Any) -> Hand | None:
    """Return what runs a call of a producer, if its broker is in the process.

    A driver leaves `_bridge_sends` with a connection where nothing is waited for.

    Arguments:
        producer: Kombu's.
    """
    connection = producer.__connection__
    if connection is None:
        connection = connection_of(producer._channel)
    sends = None if connection is None else connection.__dict__.get("_bridge_sends")
    if sends is None or not is_armed():
        return None
    found: Hand | None = sends(connection)
    return found


def ready_hand(channel: Any) -> Hand | None:
    """Return what runs a call that settles a message, if it may start at once.

    A driver that takes in messages for a channel leaves `_bridge_alone` with it.

    Arguments:
        channel: has delivered the message.
    """
    alone = getattr(channel, "_bridge_alone", None)
    if alone is None or not is_armed():
        return None
    found: Hand | None = alone()
    return found
