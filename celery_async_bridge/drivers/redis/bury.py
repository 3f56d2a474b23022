"""Reply queues that nobody reads any more, and what still arrives in them."""

from __future__ import annotations

from typing import Any

__all__ = ("bury",)


def bury(channel: Any, binding: tuple[str, str, str], lingers: float) -> None:
    """Unbind a queue, if it still is or is again, and delete its messages.

    Upstream does, too; but a peer that has looked up the bindings before pushes its
    message afterwards, and would make a list that stays for ever. And whoever has begun
    to refresh the bindings of a consumer brings back one that has been removed.

    Arguments:
        channel: a Kombu channel.
        binding: the names of queue and exchange, and the routing key.
        lingers: seconds after which what is still pushed is gone, too.
    """
    queue, exchange, routing_key = binding
    meta = channel.typeof(exchange).prepare_bind(queue, exchange, routing_key, {})
    channel._delete(queue, exchange, *meta)
    if not lingers:
        return
    key = channel._q_for_pri(queue, 0)
    with channel.conn_or_acquire() as client, client.pipeline() as pipe:
        # A push keeps the time to live of a list, so the list must be there.
        pipe.rpush(key, "")
        pipe.pexpire(_named(client, channel, key), int(lingers * 1000))
        pipe.execute()


def _named(client: Any, channel: Any, key: str) -> str:
    """Name a key for PEXPIRE, which Kombu prefixes from 5.7 on only."""
    prefixed = getattr(client, "PREFIXED_SIMPLE_COMMANDS", None)
    if prefixed is None or "PEXPIRE" in prefixed:
        return key
    return f"{channel.global_keyprefix}{key}"
