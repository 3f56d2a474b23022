"""What a Kombu channel does differently in a trampoline: its pool and its clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import kombu.transport.redis

from ...core.conversation import current_conversation
from ...core.graft import Seam
from ...core.trampoline import in_trampoline
from .link import lost

__all__ = ("channel_seams",)

_KEPT = "_bridge_client"


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
        if asynchronous or not in_trampoline():
            return original(self, asynchronous)
        kept = vars(self).get(_KEPT)
        # A channel that was disconnected has another pool.
        if kept is None or kept[0] is not self.pool or kept[1] is not self.Client:
            kept = vars(self)[_KEPT] = (self.pool, self.Client, original(self))
        return kept[2]

    return create_client


def channel_seams() -> list[Seam]:
    """Return the rows for Kombu's channel."""
    channel = kombu.transport.redis.Channel
    return [
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
