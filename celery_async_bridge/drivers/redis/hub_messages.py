"""The messages of a hub's channel, from their claim to their settlement."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu.log import get_logger

from .claim import ADOPT, UNDECODABLE, Claimed
from .holding import holding_of
from .payload import payload_of
from .returns import served
from .unread import read

if TYPE_CHECKING:
    from .hub_line import HubLine
    from .hub_owed import Owed
    from .returns import Waiting

__all__ = ("HubMessages",)

_logger = get_logger("kombu.transport.redis")


class HubMessages:
    """What one channel has claimed and not delivered, and what it has to settle.

    Arguments:
        channel: a channel of Kombu's Redis transport.
        keys: the hash of unacknowledged messages and its index.
        owed: gets what cannot be said to the server.
    """

    def __init__(self, channel: Any, keys: tuple[str, str], owed: Owed) -> None:
        self._keys = keys
        self._owed = owed
        self._holding = holding_of(channel)
        self._came: deque[Waiting] = deque()
        self._acks: list[tuple[str, float]] = []
        #: Whether a message is being delivered.
        self.busy = False
        #: Where things are said to the server.
        self.line: HubLine | None = None

    @property
    def _open_line(self) -> HubLine | None:
        line = self.line
        return line if line is not None and line.up else None

    def __len__(self) -> int:
        """How many were claimed and not delivered."""
        return len(self._came)

    # -- delivering -------------------------------------------------------------------

    def keep(self, channel: Any, came: Sequence[Waiting]) -> None:
        """Note what was claimed, and which of the queues have had their turn."""
        for queue in served(came):
            with suppress(ValueError):
                channel._queue_cycle.rotate(queue)
        for one in came:
            if one.message.tag:
                self._came.append(one)
            else:
                self._adopt(one)

    def _adopt(self, one: Waiting) -> None:
        """Note a message that the server could not read, if Python can."""
        line = self._open_line
        try:
            found = read(one.key, one.message)
        except Exception:
            return  # it has been said, and the message is in a list of its own
        if line is not None:
            own = Claimed(one.message.place, one.message.raw, found.tag)
            line.run(
                partial(self._adopted, one._replace(message=own)),
                ADOPT,
                [*self._keys, one.key + UNDECODABLE],
                [repr(one.score), found.tag, found.entry, one.message.raw],
            )

    def _adopted(self, one: Waiting, reply: Any) -> None:
        if reply == 1:
            self._came.append(one)

    def deliver(self, channel: Any) -> bool:
        """Deliver what was claimed; True if anything was."""
        delivered, qos = False, channel.qos
        if self.busy:
            return False
        self.busy = True
        try:
            while self._came:
                if not qos.can_consume():
                    # The limit has been lowered meanwhile: others may have them.
                    self.give_back()
                    break
                one = self._came.popleft()
                if one.queue in channel.connection._callbacks:
                    delivered = True
                    self._hand_over(channel, one)
                else:
                    self._return([one])  # cancelled meanwhile
        finally:
            self.busy = False
        return delivered

    def _hand_over(self, channel: Any, one: Waiting) -> None:
        booked, tag, payload = self._holding.booked, str(one.message.tag), None
        booked[tag] = one.score
        try:
            payload = payload_of(one.message.raw)
            channel.connection._deliver(payload, one.queue)
        except Exception:
            if tag in booked and not _is_message(channel, payload):
                del booked[tag]
                self._bury(one)
                return
            raise
        finally:
            if booked.pop(tag, None) is not None:
                # A consumer without acks: it is settled by being delivered.
                self.ack(tag, one.score)

    def _bury(self, one: Waiting) -> None:
        key = one.key + UNDECODABLE
        _logger.critical(
            "Message that cannot be delivered, now in %r: %.200r", key, one.message.raw
        )
        self._return([one._replace(key=key)])

    # -- settling ---------------------------------------------------------------------

    def ack(self, tag: str, score: float) -> None:
        """Have a message forgotten, with others."""
        self._acks.append((tag, score))

    def settle(self) -> None:
        """Say to the server what was settled."""
        line = self._open_line
        if self._acks and line is not None:
            acks, self._acks = self._acks, []
            self._owed.settle(line, self._keys, acks)

    def give_back(self) -> None:
        """Put everything back that was not delivered."""
        came, self._came = list(self._came), deque()
        self._return(came)

    def _return(self, messages: list[Waiting]) -> None:
        line = self._open_line
        if line is None:
            self._owed.returns += messages
        else:
            self._owed.give_back(line, self._keys, messages)

    def lose(self) -> None:
        """Leave to the next line what this one has not heard."""
        self.line = None
        self.give_back()
        self._owed.acks += self._acks
        self._acks = []


def _is_message(channel: Any, payload: Any) -> bool:
    try:
        channel.Message(payload, channel=channel)
    except Exception:
        return False
    return True
