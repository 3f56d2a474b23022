"""One subscription socket per loop and server: who listens to what, and the acks."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import InvalidResponse

from ...core.loops import LoopLocal
from .forked import let_go_in_children
from .pack import pack

if TYPE_CHECKING:
    from .address import Address

__all__ = ("Ear", "ear_for", "ears")

_NOTHING = object()
#: Channels in one SUBSCRIBE.
CHUNK = 500
#: Seconds between two attempts to connect, at first and at most.
_FIRST, _MOST = 0.05, 2.0
#: Seconds, at most, that a sign of life may take before the connection is given up.
_SILENCE = 5.0

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
        self._acks: deque[list[Any]] = deque()
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
        #: When the sign of life was asked for that has not come yet.
        self._asked: float | None = None

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

    async def subscribed(self) -> bool:
        """Wait until what is listened to now is subscribed; False if it is not."""
        if self._down or self._refused:
            return False
        if not self._wanted and not self._acks and self.up:
            return True
        waiter: asyncio.Future[bool] = self._loop.create_future()
        if self._wanted or not self.up:
            self._waiting.append(waiter)
            self._soon()
        else:
            self._acks[-1][1].append(waiter)
        return await waiter

    def ping(self) -> None:
        """Ask for a sign of life; without one in time the connection is given up."""
        if self._transport is None:
            return
        now = self._loop.time()
        if self._asked is None:
            self._asked = now
            self._transport.write(pack(("PING",)).data)
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
            self._soon()

    def _soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None:
            if self._listeners and self._opening is None:
                # In an empty context: the transport's callbacks keep that of the task.
                self._opening = contextvars.Context().run(
                    self._loop.create_task, self._open()
                )
            return
        wanted, self._wanted = self._wanted, {}
        waiting, self._waiting = self._waiting, []
        joins = [channel for channel, is_wanted in wanted.items() if is_wanted]
        leaves = [channel for channel, is_wanted in wanted.items() if not is_wanted]
        self._write("UNSUBSCRIBE", leaves)
        self._write("SUBSCRIBE", joins)
        for start in range(0, len(joins), CHUNK):
            self._acks.append([len(joins[start : start + CHUNK]), []])
        if self._acks:
            self._acks[-1][1].extend(waiting)
        else:
            _answer(waiting, True)

    def _write(self, command: str, channels: list[bytes]) -> None:
        assert self._transport is not None
        pieces = [
            pack((command, *channels[start : start + CHUNK])).data
            for start in range(0, len(channels), CHUNK)
        ]
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
                    _answer(self._waiting, False)
                    self._waiting.clear()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _MOST)
                else:
                    return
        finally:
            self._opening = None

    def attach(self, transport: asyncio.Transport, received: bytes) -> None:
        """Take over a connected transport and what it has received already."""
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=_NOTHING,
        )
        self._transport, self._asked = transport, None
        self._down = self._refused = False
        transport.set_protocol(self)
        let_go_in_children(transport)
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
            while (reply := reader.gets()) is not _NOTHING:
                self._take(reply)
        except InvalidResponse:
            self.abort()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            # Refused, by an ACL perhaps: they find out by looking into the store.
            if self._acks:
                self._refused = True
                _answer(self._acks.popleft()[1], False)
            return
        if not isinstance(reply, list) or len(reply) != 3:
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
        elif kind == b"subscribe" and self._acks:
            head = self._acks[0]
            head[0] -= 1
            if not head[0]:
                _answer(self._acks.popleft()[1], True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again, if somebody listens."""
        self._transport = self._keep = None
        acks, self._acks = self._acks, deque()
        for _, waiters in acks:
            _answer(waiters, False)
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
        # For those who wait still: they look into the store.
        self._down = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        _answer(self._waiting, False)
        # Now: the attempt may have come to its end all the same.
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)


def _answer(waiters: list[asyncio.Future[bool]], answer: bool) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(answer)


async def _close_all(found: dict[Any, Ear]) -> None:
    for ear in list(found.values()):
        await ear.aclose()
    found.clear()


_local: LoopLocal[dict[Any, Ear]] = LoopLocal(dict, _close_all)


def ear_for(address: Address) -> Ear:
    """Return the running loop's subscriptions at a server."""
    found = _local.get()
    ear = found.get(address.key)
    if ear is None:
        ear = found[address.key] = Ear(address)
    return ear


def ears() -> list[Ear]:
    """Return the subscriptions of all live loops of this process."""
    return [ear for found in _local.peek() for ear in found.values()]
