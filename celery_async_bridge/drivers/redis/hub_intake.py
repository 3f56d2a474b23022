"""What a channel takes in whose sockets the hub of an asyncio worker polls.

Kombu's channel, QoS and poller stay in charge; only the command that they wait for is
another one. A claim takes many messages and notes them in one step on the server, where
`BRPOP` takes one that is noted later, or never if the worker dies before.
"""

from __future__ import annotations

import time
import weakref
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.log import get_logger
from kombu.transport.virtual import QoS
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError

from .asking import Asked
from .claim import CLAIM
from .holding import holding_of
from .hub_line import HubLine, Lost
from .hub_messages import HubMessages
from .intake import MOST, TURNS
from .settling import lists_of

if TYPE_CHECKING:
    from .hub_owed import Owed

__all__ = ("HubIntake",)

_logger = get_logger("kombu.transport.redis")

#: Seconds for replies when a consumer or its channel ends.
_PATIENCE = 1.0


class HubIntake:
    """Claims for one channel, settlements of each turn of the hub in one write.

    Everything happens in the thread of the hub.

    Arguments:
        channel: a channel of Kombu's Redis transport.
        owed: what earlier connections have left.
    """

    def __init__(self, channel: Any, owed: Owed) -> None:
        self._channel = weakref.ref(channel)
        self._owed = owed
        prefix = channel.global_keyprefix
        self._keys = (
            f"{prefix}{channel.unacked_key}",
            f"{prefix}{channel.unacked_index_key}",
        )
        self._messages = HubMessages(channel, self._keys, owed)
        self._line: HubLine | None = None
        #: Whether the line may be asked for messages.
        self._open = False
        self._queues: tuple[str, ...] = ()
        self._lists: list[str] = []
        self._claiming = False
        #: Whether the server tells of the next message.
        self._watching = False
        self._asked_at = 0.0
        self._failure: BaseException | None = None
        #: Whether the server cannot do it: then it is up to Kombu.
        self.stock = False
        self._closed = False
        holding = holding_of(channel)
        holding.takes_over = self._takes_over
        holding.on_cancel = self._cancelled
        holding.on_close = self.close

    @property
    def reads(self) -> bool:
        """Whether what comes on the channel's socket is for this one."""
        line = self._line
        return line is not None and line.up and (line.expects or not self.stock)

    # -- in a turn of the hub ---------------------------------------------------------

    def start(self) -> bool:
        """See to it that messages come; False if that is up to Kombu.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
        """
        channel: Any = self._channel()
        connection, line = channel.client.connection, self._line
        if line is None or not line.up or line.connection is not connection:
            self._lose()
        if self._closed or (self.stock and not self.reads):
            return False
        if self._line is None:
            self._connect(channel, connection)
        elif self._open:
            self._claim(channel)
        self._expect(channel)
        self.flush()
        return True

    def prepare(self) -> None:
        """Deliver what an error has left over, and look again after a while."""
        line, channel = self._line, self._channel()
        if line is None or channel is None:
            return
        if not line.up:
            self._lose()
            return
        # Before the next claim: nobody is to see more messages noted than may be.
        self._messages.settle()
        self._messages.deliver(channel)
        if not self._watching or not channel.active_queues:
            return
        if set(self._queues) != set(channel.active_queues):
            self._claim_more()
        elif line.expects:
            return  # by this Kombu tells a dead connection: it has not answered
        elif time.monotonic() - self._asked_at > _patience(channel):
            # No news may be lost news.
            self._watch(channel)

    def flush(self) -> None:
        """Write what this turn has to say.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
        """
        line = self._line
        if line is None:
            return
        if not line.up:
            self._lose()
            return
        self._messages.settle()
        try:
            line.flush()
        except ConnectionError:
            self._lose()
            raise

    def read(self) -> bool:
        """Deliver what has come; True if something was.

        Raises:
            queue.Empty: there was nothing to deliver.
            redis.exceptions.ConnectionError: the connection is lost.
        """
        line, channel = self._line, self._channel()
        if line is None or channel is None:
            raise Empty
        self._receive(line)
        self._claim_ahead(channel, line)
        delivered = self._messages.deliver(channel)
        failure, self._failure = self._failure, None
        if failure is not None:
            if isinstance(failure, ConnectionError):
                self._lose()
                line.connection.disconnect()
            raise failure
        self._expect(channel)
        # Not only in a turn of the hub: `drain_events` knows none in older releases.
        line.flush()
        if not delivered:
            raise Empty
        return True

    def _receive(self, line: HubLine, seconds: float | None = None) -> None:
        try:
            if seconds is None:
                line.read()
            else:
                line.settle(seconds)
        except ConnectionError:
            self._lose()
            line.connection.disconnect()
            raise

    def _expect(self, channel: Any) -> None:
        """Tell Kombu's poller whether something will come."""
        line = self._line
        if line is None or not line.up:
            return
        if not line.expects:
            # As upstream does when nothing is on its way.
            channel._in_poll = None
            getattr(channel, "_flush_brpop_reauth", bool)()
        busy = self._claiming or self._watching or not self._open
        if line.up and busy and self.reads:
            channel._in_poll = line.connection
        else:
            channel._in_poll = None

    # -- asking -----------------------------------------------------------------------

    def _connect(self, channel: Any, connection: Any) -> None:
        line = self._line = self._messages.line = HubLine(connection, self._pushed)
        line.send(self._refused, "HELLO", 3)
        line.send(self._agreed, "CLIENT", "TRACKING", "ON", "NOLOOP")
        self._owed.catch_up(line, self._keys, self._found)
        self._note_asked(channel)

    def _refused(self, reply: Any) -> None:
        if isinstance(reply, ResponseError):
            self._step_aside(reply)

    def _agreed(self, reply: Any) -> None:
        self._refused(reply)
        if not isinstance(reply, Exception) and not self.stock:
            self._open = True
            self._claim_more()

    def _step_aside(self, why: Any) -> None:
        if not self.stock:
            _logger.warning(
                "%s: a worker that is killed may lose a message of this Redis; let its "
                "user call HELLO, CLIENT TRACKING, EXISTS, EVAL and EVALSHA",
                why,
            )
            if self._line is not None:
                # What redis-py expects to hear on this connection.
                self._line.send(bool, "CLIENT", "TRACKING", "OFF")
                self._line.send(bool, "HELLO", _protocol(self._line.connection))
        self.stock = True
        self._open = self._watching = self._claiming = False

    def _note_asked(self, channel: Any) -> None:
        self._asked_at = channel._brpop_sent_at = time.monotonic()

    def _claim_more(self) -> None:
        """Claim if there is credit; else Kombu asks for it when there is some."""
        channel = self._channel()
        if channel is not None and channel.active_queues and channel.qos.can_consume():
            self._claim(channel)

    def _claim_ahead(self, channel: Any, line: HubLine) -> None:
        """Claim more before many are delivered: they come meanwhile."""
        waiting = len(self._messages)
        if waiting >= MOST and _credit(channel.qos, waiting) >= MOST:
            self._messages.settle()
            self._claim_more()
            line.flush()

    def _claim(self, channel: Any) -> None:
        """Have messages claimed, as many as may be."""
        self._watching = False
        queues = tuple(channel._queue_cycle.consume(len(channel.active_queues)))
        if self._claiming or self._closed or self._line is None or not queues:
            return
        if queues != self._queues:
            self._queues, self._lists = queues, lists_of(channel, list(queues))
        self._claiming = True
        asked = Asked(queues, self._lists, time.time(), self._credit(channel))
        turn = TURNS[type(channel._queue_cycle)]
        self._line.run(
            partial(self._claimed, asked),
            CLAIM,
            [*self._keys, *asked.lists],
            [repr(asked.score), asked.count, len(queues), "1", turn],
        )
        self._note_asked(channel)

    def _credit(self, channel: Any) -> int:
        return max(1, _credit(channel.qos, len(self._messages)))

    def _claimed(self, asked: Asked, reply: Any) -> None:
        self._claiming = False
        channel = self._channel()
        if isinstance(reply, Lost):
            self._owed.doubtful.append(asked.score)
        elif isinstance(reply, ReadOnlyError):
            # As redis-py does where it knows of masters: this one has become a replica.
            self._failure = ConnectionError(str(reply))
        elif isinstance(reply, ResponseError) and _is_impossible(reply):
            self._step_aside(reply)
        elif isinstance(reply, BaseException):
            self._failure = reply
        elif reply:
            self._messages.keep(channel, asked.found(reply))
        elif channel is not None and channel.active_queues:
            self._watch(channel)

    def _watch(self, channel: Any) -> None:
        """Have the server tell of the next message."""
        if self._line is not None:
            self._watching = True
            self._line.send(self._looked, "EXISTS", *self._lists)
            self._note_asked(channel)

    def _looked(self, reply: Any) -> None:
        if isinstance(reply, ResponseError):
            self._step_aside(reply)
        elif isinstance(reply, int) and reply:
            self._news()

    def _pushed(self, push: list[Any]) -> None:
        if push[0] == b"invalidate":
            self._news()

    def _news(self) -> None:
        if self._watching:
            self._watching = False
            self._claim_more()

    def _found(self, tags: list[str]) -> None:
        """Restore what a claim has taken whose reply was lost."""
        channel: Any = self._channel()
        for tag in tags:
            channel.qos.restore_by_tag(tag)

    # -- settling, and the end --------------------------------------------------------

    def _takes_over(self, tag: str, score: float) -> bool:
        line = self._line
        if self._closed or self.stock or line is None or not line.up:
            return False
        self._messages.ack(tag, score)
        return True

    def _cancelled(self) -> None:
        """Let no message be on its way to a queue that nobody consumes."""
        line, channel = self._line, self._channel()
        if not self._claiming or self._messages.busy or line is None:
            return
        with suppress(ConnectionError):
            self.flush()
            self._receive(line, _PATIENCE)
            self._expect(channel)

    def close(self) -> None:
        """Settle everything, and put back what nobody has seen."""
        if self._closed:
            return
        self._closed = True
        line = self._line
        if line is not None and line.up:
            with suppress(ConnectionError):
                self.flush()
                self._receive(line, _PATIENCE)
                self._messages.give_back()
                self._receive(line, _PATIENCE)
        channel = self._channel()
        if channel is not None:
            # Kombu would wait for the reply of its `BRPOP`.
            channel._in_poll = None
        self._lose()

    def _lose(self) -> None:
        """Leave what is not settled to the next connection."""
        line, self._line = self._line, None
        self._open = self._claiming = self._watching = False
        self._messages.lose()
        if line is not None:
            line.lose()


def _patience(channel: Any) -> float:
    """Return the seconds after which Kombu's own command would be answered."""
    return float(getattr(channel, "brpop_timeout", None) or 1.0)


def _credit(qos: Any, waiting: int) -> int:
    """Return how many messages may be claimed at once, beside those that wait."""
    if getattr(qos.can_consume, "__func__", None) is not QoS.can_consume:
        return 1  # its own idea of how many there may be
    limit, mine = int(qos.prefetch_count), len(qos._delivered) - len(qos._dirty)
    return min(MOST, limit - mine - waiting) if limit else MOST


def _protocol(connection: Any) -> int:
    asked = getattr(connection, "get_protocol", None)
    found = getattr(connection, "protocol", 2) if asked is None else asked()
    return int(found or 2)


def _is_impossible(refusal: ResponseError) -> bool:
    text = str(refusal).lower()
    return "unknown command" in text or "no permissions" in text
