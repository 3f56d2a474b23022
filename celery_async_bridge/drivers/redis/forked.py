"""A forked child lets go of its parent's sockets.

A copy of the descriptor in the child would keep the connection open after the parent
has closed it, or died.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    import asyncio

__all__ = ("Connected", "let_go_in_children")


class Connected(Protocol):
    """What has a connection, or has lost it."""

    @property
    def transport(self) -> asyncio.BaseTransport | None:
        """The transport; None without a connection."""


# Not the transports themselves: uvloop's for TLS cannot be referred to weakly.
_connected: WeakSet[Connected] = WeakSet()


def let_go_in_children(connected: Connected) -> None:
    """Have children that are forked from now on drop this one's socket."""
    _arm()
    _connected.add(connected)


@cache
def _arm() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    inherited = [one.transport for one in _connected if one.transport is not None]
    _connected.clear()
    if not inherited:
        return
    # Put something harmless in the place of each: no shutdown is written into what the
    # parent goes on using, and a late `close` of the transport meets no other's file.
    null = os.open(os.devnull, os.O_RDWR)
    for transport in inherited:
        with suppress(OSError, AttributeError):
            number = transport.get_extra_info("socket").fileno()
            if number >= 0:
                os.dup2(null, number, inheritable=False)
    os.close(null)
