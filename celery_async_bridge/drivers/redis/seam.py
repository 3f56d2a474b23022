"""Where redis-py asks its pool for a connection: in a trampoline it gets a virtual one.

Everything above it runs unmodified: `Redis`, `Pipeline`, `Script`, `Lock`, Kombu's
channel, Celery's backend. Outside of a trampoline the same pool does what it always
did, so threads and loops share an app.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import redis.connection

from ...core.graft import Seam
from ...core.taps import in_flight
from ...core.trampoline import in_trampoline
from .address import address_of
from .mux import mux_for
from .threaded import ThreadedConnection, in_thread
from .virtual import VirtualConnection

__all__ = ("pool_seams",)


def _get_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not in_trampoline():
            return original(self, *args, **kwargs)
        address = address_of(self)
        if address is None:
            real = in_thread(self, partial(original, self, *args, **kwargs))
            return ThreadedConnection(self, real)
        connection = VirtualConnection(self, address, mux_for(address, in_flight.get()))
        # As upstream's pool does: a server that is away is noticed before the send.
        connection.connect()
        return connection

    return get_connection


def _release(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def release(self: Any, connection: Any) -> Any:
        if type(connection) is VirtualConnection:
            return connection.disconnect()
        if type(connection) is ThreadedConnection:
            return original(self, connection.real)
        return original(self, connection)

    return release


def pool_seams() -> list[Seam]:
    """Return the rows for redis-py's pools."""
    module = redis.connection
    why = "a bridge call's commands go over the loop's one connection"
    back = "a virtual connection is not the pool's"
    return [
        Seam(cls, name, make, "a", reason)
        for cls in (module.ConnectionPool, module.BlockingConnectionPool)
        for name, make, reason in (
            ("get_connection", _get_connection, why),
            ("release", _release, back),
        )
    ]
