"""Messages that were claimed and that nobody has seen, and their way back."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from .claim import GIVE_BACK, UNBURY, UNDECODABLE
from .ledger import giving_back
from .unread import adopt, is_readable, read

if TYPE_CHECKING:
    import asyncio

    from .claim import Claimed
    from .ledger import Ledger

__all__ = ("Returns", "Waiting", "served")


class Waiting(NamedTuple):
    """A message that was claimed and not delivered.

    Attributes:
        queue: its queue.
        key: the list that it came from.
        message: what was claimed.
        score: when, as it is noted.
    """

    queue: str
    key: str
    message: Claimed
    score: float


def served(came: Sequence[Waiting]) -> list[str]:
    """Return the queues of messages, each once, in the order of their last ones."""
    return [*dict.fromkeys(one.queue for one in reversed(came))][::-1]


class Returns:
    """What one channel has claimed and not delivered; it goes back to its lists.

    Arguments:
        ledger: where it is noted.
        noted: whether it is.
        timeout: seconds after which a consumer may restore a message.
    """

    def __init__(self, ledger: Ledger, noted: bool, timeout: float) -> None:
        self._ledger = ledger
        self._noted = noted
        self._timeout = timeout
        self._pid = os.getpid()
        self.waiting: deque[Waiting] = deque()
        #: What has been sent and not been answered.
        self.pending: set[asyncio.Future[int]] = set()

    def _take(self, queue: str | None) -> list[Waiting]:
        mine = [one for one in self.waiting if queue in (None, one.queue)]
        self.waiting = deque(
            one for one in self.waiting if queue not in (None, one.queue)
        )
        return mine

    def _readable(self, messages: Sequence[Waiting]) -> list[Waiting]:
        """Return those that are not in the list of the undecodable already."""
        return [one for one in messages if one.message.tag or not self._noted]

    def _are_old(self, messages: Sequence[Waiting]) -> bool:
        """Whether others may have restored and finished some of them meanwhile."""
        return time.time() - min(one.score for one in messages) > self._timeout / 2

    def drop(self, queue: str | None = None) -> None:
        """Put back what waits, of one queue or of all."""
        self.put(self._take(queue))

    def _unread(self, messages: Sequence[Waiting]) -> list[tuple[str, bytes]]:
        """Return list and payload of those that only the server could not read."""
        return [
            (one.key, one.message.raw)
            for one in messages
            if self._noted and not one.message.tag and is_readable(one.message.raw)
        ]

    async def adopted(self, one: Waiting) -> Claimed | None:
        """Note one that the server could not read; None if somebody has taken it.

        Raises:
            Exception: it cannot be read; it stays in the list of the undecodable.
        """
        found = read(one.key, one.message)
        try:
            return await adopt(self._ledger, one.key, one.message, found, one.score)
        except BaseException:
            self.put([one])
            raise

    def put(self, messages: Sequence[Waiting]) -> None:
        """Put messages back, at once and without waiting for it."""
        for reply in self._ledger.unbury(self._unread(messages)):
            self.pending.add(reply)
            reply.add_done_callback(self.pending.discard)
        mine = self._readable(messages)
        if not mine:
            return
        sent = self._ledger.give_back(
            [(one.key, one.message) for one in mine], noted_only=self._are_old(mine)
        )
        self.pending.add(sent)
        sent.add_done_callback(partial(self._done, mine))

    def _done(self, messages: list[Waiting], sent: asyncio.Future[int]) -> None:
        self.pending.discard(sent)
        if sent.exception() is not None:
            # Whoever consumes next does it.
            tags = [one.message.tag for one in messages if one.message.tag]
            self._ledger.orphans.update(tags)

    def drop_blocking(self, pool: Any, queue: str | None = None) -> None:
        """Put back what waits, from a thread that is not the loop's.

        In a forked child nothing is done: it is the parent's.
        """
        taken = self._take(queue)
        if not taken or self._pid != os.getpid():
            return
        client: Any = redis.Redis(connection_pool=pool)
        for key, raw in self._unread(taken):
            keys = [key + UNDECODABLE, key]
            client.execute_command("EVAL", UNBURY.text, len(keys), *keys, raw)
        mine = self._readable(taken)
        if mine:
            messages = [(one.key, one.message) for one in mine]
            keys, args = giving_back(self._ledger.keys, messages, self._are_old(mine))
            client.execute_command("EVAL", GIVE_BACK.text, len(keys), *keys, *args)
