"""The exchange type that virtual transports lack: `headers`.

Messages are routed by comparing their headers with the arguments of a binding. Peers
without the bridge can consume what was routed, and give it back: each copy is addressed
to its queue. They can neither bind nor publish: to them the type is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import cache
from typing import Any

from .....core.conversation import current_conversation
from .....core.graft import Seam
from .....core.trampoline import in_trampoline

__all__ = ("headers_seams", "matches")

#: At the end of the routing key of a binding: who takes the exchange for a direct one
#: must not find it.
_MARK = "\x00headers"


def matches(wanted: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """Whether headers fit the arguments of a binding, as RabbitMQ compares them.

    Arguments:
        wanted: header values, None for any; `x-match` is "all" (the default) or "any",
            other names that begin with "x-" do not count.
        headers: of the message.
    """
    found = [
        name in headers and value in (None, headers[name])
        for name, value in wanted.items()
        if not name.startswith("x-")
    ]
    return any(found) if wanted.get("x-match") == "any" else all(found)


def _ours() -> None:
    if not in_trampoline() and current_conversation() is None:
        # What upstream says of a type that it does not know.
        raise KeyError(
            "headers: only the twins of celery-async-bridge (`await ...`) know this "
            "type of exchange on a virtual transport"
        )


class _Headers:
    """What an exchange of this type does; the rest is upstream's `ExchangeType`."""

    type = "headers"
    channel: Any

    def prepare_bind(
        self, queue: str, exchange: str, routing_key: str, arguments: Any
    ) -> tuple[str, str, str]:
        """Return the row of a binding: its arguments stand where others have a pattern.

        Raises:
            ChannelError: `x-match` is neither "all" nor "any".
        """
        from kombu.exceptions import ChannelError
        from kombu.utils.json import dumps

        _ours()
        wanted = dict(arguments or {})
        if wanted.get("x-match", "all") not in ("all", "any"):
            # Upstream has noted it before it asks.
            self.channel.state.binding_delete(queue, exchange, routing_key)
            raise ChannelError(
                f"PRECONDITION_FAILED - x-match of the binding of queue {queue!r} to "
                f'exchange {exchange!r} must be "all" or "any"'
            )
        return (routing_key or "") + _MARK, dumps(wanted, sort_keys=True), queue

    def lookup(self, table: Any, exchange: str, routing_key: str, default: Any) -> Any:
        """Return no queue: a routing key says nothing here."""
        return set()

    def deliver(
        self, message: Any, exchange: str, routing_key: str, **kwargs: Any
    ) -> None:
        """Put a copy of a message into each queue with a binding that fits."""
        from kombu.utils.json import loads

        _ours()
        headers = message.get("headers") or {}
        queues = {
            queue
            for _, arguments, queue in self.channel.get_table(exchange)
            if matches(loads(arguments), headers)
        }
        for queue in sorted(queues):
            properties = dict(message["properties"])
            # Whoever restores it looks up where it came from, and has no headers then.
            info = {"exchange": "", "routing_key": queue}
            properties["delivery_info"] = {**properties["delivery_info"], **info}
            properties["delivery_tag"] = self.channel._next_delivery_tag()
            mine = copy(message)
            mine["properties"] = properties
            self.channel._put(queue, mine, **kwargs)


@cache
def _kind() -> Callable[..., Any]:
    # Not at import, which must not import Kombu.
    from kombu.transport.virtual.exchange import ExchangeType

    return type("HeadersExchange", (_Headers, ExchangeType), {"__module__": __name__})


def _types(original: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {"headers": _kind(), **original}


def headers_seams() -> list[Seam]:
    """Return the row for the type."""
    from kombu.transport.virtual.base import Channel

    why = "virtual transports have no headers exchange"
    return [Seam(Channel, "exchange_types", _types, "a", why)]
