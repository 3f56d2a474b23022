"""A forked child lets go of its parent's sockets.

A copy of the descriptor in the child would keep the connection open after the parent
has closed it, or died.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    import asyncio

__all__ = ("let_go_in_children",)

_transports: WeakSet[asyncio.BaseTransport] = WeakSet()


def let_go_in_children(transport: asyncio.BaseTransport) -> None:
    """Have children that are forked from now on drop this transport's socket."""
    _arm()
    _transports.add(transport)


@cache
def _arm() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    inherited = list(_transports)
    _transports.clear()
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
