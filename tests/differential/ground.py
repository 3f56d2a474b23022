"""What the steps of a program share: channels, names, and who holds what."""

from __future__ import annotations

from typing import Any

__all__ = ("Ground", "nothing")


class Ground:
    """The state of a program while it runs."""

    _channels: list[Any]
    _queues: set[str]
    _exchanges: set[str]
    #: Queue, order and delivery tag of what each channel holds.
    _held: list[list[tuple[str, int, int]]]
    _consumers: dict[str, tuple[int, str]]
    _shared: set[int]
    #: Queues that one consumer at a time has for itself.
    _singles: set[str]
    _server: bool
    _seen: list[Any]
    _prefix: str
    _count: int
    _body: int
    _rounds: int
    _patience: float
    _one: Any
    _two: Any
    _sure: Any

    def _queue(self, number: int) -> str:
        return f"{self._prefix}q{number}"

    def _exchange(self, name: Any) -> str:
        return f"{self._prefix}x{name}" if isinstance(name, int) else str(name)

    def _key(self, key: Any) -> str:
        return self._queue(key) if isinstance(key, int) else str(key)

    def _shown(self, message: Any) -> Any:
        info = message.delivery_info
        return (
            message.body,
            info["exchange"],
            info["routing_key"],
            info["redelivered"],
            info.get("message_count"),
            message.properties,
        )

    def _gone(self, number: int) -> None:
        """Forget what a channel had that has been closed."""
        self._held[number] = []
        self._shared.discard(number)
        for tag, (channel, _) in list(self._consumers.items()):
            if channel == number:
                del self._consumers[tag]


def nothing(channel: Any) -> None:
    """Ask and wait for the answer: what was written before has been read."""
    channel.exchange_declare("amq.direct", "direct", passive=True)
