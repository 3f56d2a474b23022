"""Whose turn it is: consumers of one queue, and those that are out of credit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channel import Channel
    from .queue import Queue

__all__ = ("Consumer", "Rota")


class Consumer:
    """One `basic.consume`.

    Attributes:
        credit: how many more messages it may hold; None for any number.
        blocked: whether it waits for credit, outside the rota of its queue.
    """

    __slots__ = (
        "blocked",
        "channel",
        "credit",
        "exclusive",
        "no_ack",
        "priority",
        "queue",
        "tag",
    )

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        tag: str,
        *,
        no_ack: bool,
        exclusive: bool,
        priority: int,
        prefetch: int,
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        self.credit = prefetch if prefetch and not no_ack else None
        self.blocked = False

    def may_take(self) -> bool:
        """Whether it, and its channel, have credit left.

        A full channel holds back who acknowledges nothing, too, though that never
        fills it.
        """
        if self.credit == 0 or self.channel.closed:
            return False
        return self.channel.has_room()


class Rota:
    """The consumers of a queue in turn, the highest priority first."""

    def __init__(self) -> None:
        self._turns: dict[int, deque[Consumer]] = {}
        self.all: dict[tuple[Any, str], Consumer] = {}

    def __len__(self) -> int:
        return len(self.all)

    def add(self, consumer: Consumer) -> None:
        """Let a consumer take part."""
        self.all[consumer.channel, consumer.tag] = consumer
        self._enter(consumer)

    def _enter(self, consumer: Consumer) -> None:
        if consumer.priority not in self._turns:
            self._turns[consumer.priority] = deque()
            self._turns = dict(sorted(self._turns.items(), reverse=True))
        self._turns[consumer.priority].append(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Let a consumer leave."""
        del self.all[consumer.channel, consumer.tag]
        if not consumer.blocked:
            self._turns[consumer.priority].remove(consumer)

    def first(self) -> Consumer | None:
        """Return the one that has waited longest."""
        for turn in self._turns.values():
            if turn:
                return turn[0]
        return None

    def take(self) -> Consumer | None:
        """Return who gets the next message; who has no credit leaves the rota."""
        for turn in self._turns.values():
            while turn:
                consumer = turn.popleft()
                if consumer.may_take():
                    turn.append(consumer)
                    return consumer
                consumer.blocked = True
        return None

    def block(self, consumer: Consumer) -> None:
        """Let a consumer wait for credit."""
        consumer.blocked = True
        self._turns[consumer.priority].remove(consumer)

    def unblock(self, channel: Any) -> bool:
        """Bring back the consumers of a channel that have credit again."""
        came = False
        for consumer in self.all.values():
            if consumer.blocked and consumer.channel is channel and consumer.may_take():
                consumer.blocked = False
                self._enter(consumer)
                came = True
        return came
