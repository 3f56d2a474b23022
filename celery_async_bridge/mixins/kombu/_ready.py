"""Calls that can be made at once: nothing has to be found out or waited for first."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ...core.registry import is_armed
from ._crew import crew_of
from ._route import connection_of

if TYPE_CHECKING:
    from ...core.trampoline import Hand

__all__ = ("ready_event", "ready_hand")


def ready_event(connection: Any, options: dict[str, Any]) -> Awaitable[bool] | None:
    """Return what delivers an event that its driver has in hand, or None.

    A driver that has waited for a connection leaves `_bridge_at_once` with it. Awaiting
    the event gives False if there was none after all.

    Arguments:
        connection: Kombu's.
        options: of a call of its `drain_events`.
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
    found: Awaitable[bool] | None = at_once(connection)
    return found


def ready_hand(channel: Any) -> Hand | None:
    """Return what runs a call that settles a message, if it may start at once.

    A driver that has waited for a connection leaves `_bridge_alone` with it.

    Arguments:
        channel: has delivered the message.
    """
    connection = connection_of(channel)
    alone = None if connection is None else connection.__dict__.get("_bridge_alone")
    if alone is None or not is_armed():
        return None
    found: Hand | None = alone(connection, channel)
    return found
