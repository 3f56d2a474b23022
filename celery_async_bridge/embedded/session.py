"""One connection, as the broker sees it: its channels, and what it has to read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker import Broker
    from .channel import Channel
    from .queue import Queue

__all__ = ("Session",)


class Session:
    """A connection to a broker.

    Attributes:
        inbox: what waits to be read: number of the channel, kind, and arguments.
        queues: those that are exclusive to it.
        wakers: called, from any thread, when the inbox is no longer empty.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.channels: dict[int, Channel] = {}
        self.inbox: deque[tuple[int, str, tuple[Any, ...]]] = deque()
        self.queues: dict[Queue, None] = {}
        self.wakers: dict[Callable[[], object], None] = {}
        self.open = True
        broker.sessions[self] = None

    def tell(self, channel: int, kind: str, *arguments: Any) -> None:
        """Leave something to read."""
        self.inbox.append((channel, kind, arguments))
        if self.wakers:
            for wake in list(self.wakers):
                wake()

    def read(self) -> tuple[int, str, tuple[Any, ...]] | None:
        """Take the next thing to read, if there is one."""
        with self.broker.turn():
            return self.inbox.popleft() if self.inbox else None

    def watch(self, wake: Callable[[], object]) -> None:
        """Have a waiter woken for what arrives, and for what becomes due."""
        with self.broker.lock:
            self.wakers[wake] = None
            self.broker.waiters[wake] = None

    def unwatch(self, wake: Callable[[], object]) -> None:
        """Leave a waiter in peace."""
        with self.broker.lock:
            self.wakers.pop(wake, None)
            self.broker.waiters.pop(wake, None)

    def close(self) -> None:
        """End the connection: unacked messages go back, exclusive queues go."""
        if self.broker.left:
            self.open = False
            return
        with self.broker.turn():
            if not self.open:
                return
            self.open = False
            for channel in list(self.channels.values()):
                channel.close()
            for queue in list(self.queues):
                self.broker.drop_queue(queue)
            self.inbox.clear()
            self.broker.sessions.pop(self, None)
            for wake in list(self.wakers):
                wake()
