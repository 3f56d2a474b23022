"""What a Kombu channel does differently in a trampoline: its pool and its clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import kombu.connection
import kombu.transport.redis

from ...core.conversation import current_conversation
from ...core.gate import go_on
from ...core.graft import Seam
from ...core.taps import in_flight, replay
from ...core.trampoline import await_, in_trampoline
from .address import address_of
from .link import lost
from .mux import mux_for
from .virtual import reach

if TYPE_CHECKING:
    from .address import Address

__all__ = ("channel_seams",)

_KEPT = "_bridge_client"
#: Of a channel: what stands for the connection on which it was made.
_MADE = "_bridge_link"
#: Of a Kombu connection: its names, and the address that they led to.
_SERVER = "_bridge_server"


def _connparams(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def connparams(self: Any, *args: Any, **kwargs: Any) -> Any:
        # `Producer._publish` takes its channel, then declares; a connection that breaks
        # in the declare is replaced there, and the channel in hand is a closed one. In
        # redis-py's sync client hidden retries mostly keep that from happening.
        if self.connection is None and (in_trampoline() or current_conversation()):
            raise lost("The channel's connection was lost", uncertain=False)
        return original(self, *args, **kwargs)

    return connparams


def _create_client(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_client(self: Any, asynchronous: bool = False) -> Any:
        if not in_trampoline():
            return original(self, asynchronous)
        if asynchronous:
            return _first_client(self, original)
        kept = vars(self).get(_KEPT)
        # A channel that was disconnected has another pool.
        if kept is None or kept[0] is not self.pool or kept[1] is not self.Client:
            kept = vars(self)[_KEPT] = (self.pool, self.Client, original(self))
            vars(self)[_MADE] = _link_to(address_of(self.pool))
        return kept[2]

    return create_client


def _first_client(channel: Any, original: Callable[..., Any]) -> Any:
    """Return the client by which a new channel finds out whether it is connected."""
    client = original(channel, True)
    connection = getattr(channel.connection, "client", None)
    address = address_of(client.connection_pool)
    if connection is not None and address is not None:
        vars(connection)[_SERVER] = (_names(connection), address)
    return client


def _create_channel(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_channel(self: Any, connection: Any) -> Any:
        if in_trampoline() and not self._avail_channels:
            known = vars(self.client).get(_SERVER)
            if known is not None and known[0] == _names(self.client):
                # Before a channel, a pool, a class of connections and a client are
                # made, all of which refer to each other, for an attempt that may
                # fail; while a server is away every call makes several.
                reach(mux_for(known[1], in_flight.get()))
            # A burst of calls makes dozens, and a loss has them all made again.
            await_(go_on())
        return original(self, connection)

    return create_channel


def _names(connection: Any) -> tuple[Any, ...]:
    """All from which a channel finds its server; brokers in a list take turns."""
    return (
        connection.hostname,
        connection.port,
        connection.virtual_host,
        connection.userid,
        connection.password,
        connection.ssl,
        getattr(connection, "credential_provider", None),
        dict(connection.transport_options),
    )


def _link_to(address: Address | None) -> object | None:
    return None if address is None else mux_for(address, in_flight.get()).token


def _collect(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def collect(self: Any, *args: Any, **kwargs: Any) -> Any:
        first = replay.get()
        if first is not None and in_trampoline():
            failure, first.taken = first.taken, None
            if hasattr(failure, "uncertain") and _is_new(self):
                return None
        return original(self, *args, **kwargs)

    return collect


def _is_new(connection: Any) -> bool:
    """Whether the channel in hand was made on the connection that the loop has now."""
    made = getattr(connection._default_channel, _MADE, None)
    known = vars(connection).get(_SERVER)
    return (
        made is not None
        and known is not None
        and known[0] == _names(connection)
        and made is _link_to(known[1])
    )


def channel_seams() -> list[Seam]:
    """Return the rows for Kombu's channel."""
    channel = kombu.transport.redis.Channel
    return [
        Seam(
            kombu.transport.redis.Transport,
            "create_channel",
            _create_channel,
            "a",
            "a channel is made when there is a connection for it",
        ),
        Seam(
            kombu.connection.Connection,
            "collect",
            _collect,
            "a",
            "a channel made since the loss that a call is told of is not lost with it",
        ),
        Seam(
            channel,
            "_create_client",
            _create_client,
            "a",
            "a client keeps nothing of a command: one per channel, not one per command",
        ),
        Seam(
            channel,
            "_connparams",
            _connparams,
            "a",
            "a bridge call that meets a closed channel reconnects by Kombu's policy",
        ),
    ]
