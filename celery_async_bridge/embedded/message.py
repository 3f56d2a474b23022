"""What is published, and its place in one queue."""

from __future__ import annotations

from typing import Any

__all__ = ("Entry", "Message")

Properties = dict[str, Any]


class Message:
    """What was published, once; never changed afterwards.

    Attributes:
        exchange: where it was published.
        keys: its routing key, then those of the headers CC and BCC.
        properties: AMQP's properties by name; `application_headers` among them.
        body: the payload.
        delay: seconds that its queues hold it back.
    """

    __slots__ = ("body", "delay", "exchange", "keys", "properties")

    def __init__(
        self,
        exchange: str,
        keys: tuple[str, ...],
        properties: Properties,
        body: Any,
        delay: float = 0.0,
    ) -> None:
        self.exchange = exchange
        self.keys = keys
        self.properties = properties
        self.body = body
        self.delay = delay

    @property
    def headers(self) -> dict[str, Any]:
        """The headers; an empty table if there are none."""
        return self.properties.get("application_headers") or {}


class Entry:
    """A message in one queue.

    Attributes:
        seq: its place; it comes back to it when it is requeued.
        expires: when it is dead, on the broker's clock; None for never.
        redelivered: whether somebody has had it before.
        row: where it is stored; 0 for nowhere.
    """

    __slots__ = ("expires", "message", "priority", "redelivered", "row", "seq")

    def __init__(
        self, seq: int, message: Message, priority: int, expires: float | None
    ) -> None:
        self.seq = seq
        self.message = message
        self.priority = priority
        self.expires = expires
        self.redelivered = False
        self.row = 0

    def __lt__(self, other: Entry) -> bool:
        return self.seq < other.seq
