"""What is there already, handed out without a wait, and without a greenlet for each."""

from __future__ import annotations

from typing import Any

from ...core.carry import capture
from ...core.fair import Fair, give_way
from ...core.loops import LoopLocal
from ...core.trampoline import Hand
from .link import Connection

__all__ = ("alone", "at_once", "sends")


class _Desk:
    """The greenlets of one loop, and when the others on it are to have a turn."""

    def __init__(self) -> None:
        self.hand = Hand()
        self.fair = Fair()


_desks = LoopLocal(_Desk)


def at_once(connection: Any, timeout: float | None, *, waits: bool = True) -> Any:
    """Deliver an event of a Kombu connection that is there already.

    Arguments:
        connection: Kombu's.
        timeout: of the call; nothing is waited for here.
        waits: the same.

    Returns:
        True, or what tells when it is awaited whether there was an event; None if there
        is none.
    """
    link = connection._connection
    if not isinstance(link, Connection) or not link.has_event():
        return None
    desk = _desks.get()
    if desk.fair.owes_turn():
        return give_way()
    return desk.hand.begin(capture(link.deliver)) or None


def sends(connection: Any) -> Hand | None:
    """Return what runs calls on a Kombu connection; None if they wait for a file."""
    link = connection._connection
    if not isinstance(link, Connection) or link.lasts or not link.connected:
        return None
    return _desks.get().hand


def alone() -> Hand:
    """Return what runs a call that settles a message: nothing has to be waited for."""
    return _desks.get().hand
