"""One subscription socket per loop and server: who listens to what, and the acks."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import InvalidResponse

from .alarm import Alarm
from .expected import Answer, Expected, answer_all
from .forked import let_go_in_children
from .per_server import PerServer
from .replies import NOTHING, PUSH, new_reader

if TYPE_CHECKING:
    from .address import Address

__all__ = ("Ear", "ear_for", "ears")

#: Channels in one SUBSCRIBE.
CHUNK = 500
#: Seconds after which a channel is left, if nothing else is said before.
_LEAVE = 0.02
#: Seconds between two attempts to connect, at first and at most.
_FIRST, _MOST = 0.05, 2.0
#: Seconds, at most, that a sign of life may take before the connection is given up.
_SILENCE = 5.0

#: What is said here is bytes already: redis-py would look at each word.
_packed: Any = hiredis.pack_command

Hears = Callable[[bytes, bytes], object]


class Ear(asyncio.Protocol):
    """Hears what is published on the channels that somebody listens to.

    Subscriptions of one turn of the loop leave together. After a loss it connects and
    subscribes again by itself for as long as somebody listens; `on_back` tells those
    who may have missed something.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[bytes, list[Hears]] = {}
        self._wanted: dict[bytes, bool] = {}
        self._reads: list[tuple[list[bytes], Answer]] = []
        self._first: dict[Callable[[], object], None] = {}
        self._leaving = Alarm(self._flush)
        self._expected = Expected()
        self._waiting: list[asyncio.Future[bool]] = []
        self._transport: asyncio.Transport | None = None
        self._reader: Any = None
        self._keep: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._flushing = False
        #: Called when a connection is back and all channels are subscribed again.
        self.on_back: set[Callable[[], object]] = set()
        self.opened = 0
        self._down = False
        #: Whether the server has refused channels of this connection.
        self._refused = False
        #: Whether it pushes: then it answers other commands, too.
        self._pushes = False
        #: When the sign of life was asked for that has not come yet.
        self._asked: float | None = None

    @property
    def hears(self) -> bool:
        """Whether the server has refused no channel of this connection."""
        return not self._refused

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self, channel: bytes, hears: Hears) -> None:
        """Have `hears(channel, payload)` called for what is published there."""
        found = self._listeners.get(channel)
        if found is None:
            self._listeners[channel] = [hears]
            self._want(channel, True)
        else:
            found.append(hears)

    def unlisten(self, channel: bytes, hears: Hears) -> None:
        """Undo one `listen`; the last one leaves the channel."""
        found = self._listeners.get(channel)
        if found is None or hears not in found:
            return
        found.remove(hears)
        if not found:
            del self._listeners[channel]
            self._want(channel, False)

    async def subscribed(self, within: float | None = None) -> bool:
        """Wait until what is listened to now is subscribed.

        False if it is not, or not known to be after `within` seconds.
        """
        if self._down or self._refused:
            return False
        waiter: asyncio.Future[bool] = self._loop.create_future()
        if self._wanted or not self.up:
            self._waiting.append(waiter)
            self._soon()
        elif not self._expected.when_subscribed([waiter]):
            return True
        if within is None:
            return await waiter
        # Not `wait_for`, which loses cancellations before Python 3.12.
        timer = self._loop.call_later(within, answer_all, [waiter], False)
        try:
            return await waiter
        finally:
            timer.cancel()

    def before_writing(self, first: Callable[[], object]) -> None:
        """Have `first` called, once, before what is due is written."""
        self._first[first] = None
        self._soon()

    def look(self, keys: list[bytes], answer: Answer) -> bool:
        """Read keys behind all that is listened to now; False if that cannot be.

        What was stored before is in the reply, and what comes later is heard after it:
        the server carries out the commands of a connection one after the other.
        `answer` gets the values, or None after an error or a loss.
        """
        if self._transport is None or not self._pushes or self._refused:
            return False
        self._reads.append((keys, answer))
        self._soon()
        return True

    def hold(self) -> None:
        """Leave what is said next to `write`, which has to follow in this turn."""
        self._flushing |= self._transport is not None

    def write(self) -> None:
        """Write what is due now, not when this turn of the loop is over."""
        if self._transport is not None:
            self._flush()

    def ping(self) -> None:
        """Ask for a sign of life; without one in time the connection is given up."""
        if self._transport is None:
            return
        now = self._loop.time()
        if self._asked is None:
            self._asked = now
            self._expected.reply()
            self._transport.write(_packed((b"PING",)))
        elif now - self._asked > min(self._address.stall, _SILENCE):
            # Not sooner: several feeds ask, each at its own time.
            self._transport.abort()

    # -- writing ----------------------------------------------------------------------

    def _want(self, channel: bytes, wanted: bool) -> None:
        # What is listened to and left in one turn of the loop is not mentioned at all.
        if self._wanted.get(channel) is (not wanted):
            del self._wanted[channel]
        else:
            self._wanted[channel] = wanted
            if wanted:
                self._soon()
            elif not self._leaving.is_set:
                # It goes with the next channel that is joined, which most often is not
                # far, and needs no packet of its own.
                self._leaving.set(self._loop.time() + _LEAVE)

    def _soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        firsts, self._first = self._first, {}
        for first in firsts:
            first()
        self._flushing = False
        self._leaving.stop()
        if self._transport is None:
            if self._listeners and (self._opening is None or self._opening.done()):
                # In an empty context: the transport's callbacks keep that of the task.
                self._opening = contextvars.Context().run(
                    self._loop.create_task, self._open()
                )
            return
        wanted, self._wanted = self._wanted, {}
        waiting, self._waiting = self._waiting, []
        joins = [channel for channel, is_wanted in wanted.items() if is_wanted]
        leaves = [channel for channel, is_wanted in wanted.items() if not is_wanted]
        pieces: list[bytes] = []
        for name, channels in ((b"unsubscribe", leaves), (b"subscribe", joins)):
            for start in range(0, len(channels), CHUNK):
                part = channels[start : start + CHUNK]
                self._expected.acks(name, len(part))
                pieces.append(_packed((name.upper(), *part)))
        if not self._expected.when_subscribed(waiting):
            answer_all(waiting, True)
        reads, self._reads = self._reads, []
        for keys, answer in reads:
            self._expected.reply(answer)
            pieces.append(_packed((b"MGET", *keys)))
        if pieces:
            self._transport.write(b"".join(pieces))

    # -- the connection ---------------------------------------------------------------

    async def _open(self) -> None:
        pause = _FIRST
        try:
            while self._listeners:
                try:
                    self._keep = await self._address.open(self)
                except Exception:
                    # Whatever it was, they look into the store meanwhile, and are told
                    # what is wrong by that.
                    self._down = True
                    answer_all(self._waiting, False)
                    self._waiting.clear()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _MOST)
                else:
                    return
        finally:
            self._opening = None

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport; None without a connection."""
        return self._transport

    def attach(self, transport: asyncio.Transport, received: bytes) -> None:
        """Take over a connected transport and what it has received already."""
        self._reader = new_reader()
        self._transport, self._asked = transport, None
        self._down = self._refused = self._pushes = False
        transport.set_protocol(self)
        let_go_in_children(self)
        self.opened += 1
        # All that is listened to, not only what is new.
        self._wanted = dict.fromkeys(self._listeners, True)
        if received:
            self.data_received(received)
        self._flush()
        if self.opened > 1:
            back = self._loop.create_task(self._tell())
            back.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _tell(self) -> None:
        await self.subscribed()
        for hears in list(self.on_back):
            hears()

    def data_received(self, data: bytes) -> None:
        """Deliver messages and count acks."""
        self._asked = None
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not NOTHING:
                self._take(reply)
        except InvalidResponse:
            self.abort()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            # Refused, by an ACL perhaps: they find out by looking into the store.
            self._refused |= self._expected.take_error()
            return
        if type(reply) is PUSH:
            self._pushes = True
        elif self._pushes or not isinstance(reply, list) or len(reply) != 3:
            if not self._expected.take_reply(reply):
                self.abort()
            return
        if len(reply) != 3:
            return
        kind, channel, payload = reply
        if kind == b"message":
            for hears in list(self._listeners.get(channel, ())):
                try:
                    hears(channel, payload)
                except Exception as exc:
                    # Raised further it would cost all others the connection.
                    self._loop.call_exception_handler(
                        {"message": f"{hears} failed", "exception": exc}
                    )
        else:
            self._expected.take_ack(kind)

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again, if somebody listens."""
        self._transport = self._keep = None
        reads, self._reads = self._reads, []
        self._expected.lose()
        for _, answer in reads:
            answer(None)
        if self._listeners:
            self._soon()

    def abort(self) -> None:
        """Give the connection up."""
        if self._transport is not None:
            self._transport.abort()

    async def aclose(self) -> None:
        """Close the connection; nobody hears anything any more."""
        self._listeners.clear()
        self._wanted.clear()
        self._leaving.cancel()
        # For those who wait still: they look into the store.
        self._down = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        answer_all(self._waiting, False)
        # Now: the attempt may have come to its end all the same.
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)


_ears: PerServer[Ear] = PerServer()


def ear_for(address: Address) -> Ear:
    """Return the running loop's subscriptions at a server."""
    return _ears.get(address, Ear)


def ears() -> list[Ear]:
    """Return the subscriptions of all live loops of this process."""
    return _ears.all()
