"""Wake-ups for consumers that wait: no polling, and nothing is taken out of a list.

A blocking pop would take a message that may then be lost, and waits on one socket per
consumer. Instead the server is asked to tell of changes (`CLIENT TRACKING`): looking at
a key once makes it say, once, that somebody has touched it, whoever that is.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import InvalidResponse

from .forked import let_go_in_children
from .pack import pack
from .per_server import PerServer
from .replies import NOTHING, new_reader

if TYPE_CHECKING:
    from .address import Address

__all__ = ("Bell", "Watch", "bell_for", "bells")

_logger = logging.getLogger(__name__)

#: Seconds between two attempts to connect, at first and at most.
_FIRST, _MOST = 0.05, 2.0
#: Seconds between two looks where the server cannot tell of changes.
POLL = 0.05
#: Seconds that the one who was woken has to take what is there, before the next one
#: who waits for the same is asked to look.
HEAD_START = 0.002
#: Seconds after which a connection that says nothing is asked for a sign of life.
BEAT = 15.0

Hears = Callable[[bytes, bytes, bytes], object]


class Watch:
    """Someone who waits for the first message in any of several lists."""

    __slots__ = ("keys", "ring")

    def __init__(self, keys: Sequence[str], ring: Callable[[], object]) -> None:
        self.keys = [key.encode() for key in keys]
        self.ring = ring


class Bell(asyncio.Protocol):
    """One connection that hears of messages, and of what is published to patterns.

    A watch is rung once, when there may be something in one of its lists; of those who
    wait for the same list the one that has waited longest.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._watches: dict[bytes, dict[Watch, None]] = {}
        self._patterns: dict[bytes, list[Hears]] = {}
        #: What is expected in the order of the commands: the watch for which was
        #: asked, or None where only an error matters.
        self._asked: deque[Watch | None] = deque()
        self._checking: set[bytes] = set()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._reader: Any = None
        self._keep: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._heard = True
        self._full: set[object] = set()
        self._closed = False
        #: Whether the server cannot tell of changes.
        self.deaf = False
        self.opened = 0

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def __len__(self) -> int:
        return len({w for found in self._watches.values() for w in found})

    # -- lists ------------------------------------------------------------------------

    def watch(self, keys: Sequence[str], ring: Callable[[], object]) -> Watch:
        """Have `ring()` called once, as soon as one of the lists is not empty."""
        watch = Watch(keys, ring)
        for key in watch.keys:
            self._watches.setdefault(key, {})[watch] = None
        if self.deaf:
            self._loop.call_later(POLL, self._ring, watch)
        else:
            self._ask(watch)
        return watch

    def unwatch(self, watch: Watch) -> bool:
        """Undo one `watch`; False if it was rung before."""
        known = False
        for key in watch.keys:
            found = self._watches.get(key, {})
            known = found.pop(watch, known) is None
            if not found:
                self._watches.pop(key, None)
        return known

    def _ask(self, watch: Watch) -> None:
        if self._transport is not None:
            self._asked.append(watch)
            self._send("EXISTS", *watch.keys)
        else:
            self._soon()

    def _ring(self, watch: Watch) -> None:
        waits = self.unwatch(watch)
        for key in watch.keys:
            if key in self._watches and key not in self._checking:
                self._checking.add(key)
                self._loop.call_later(HEAD_START, self._check, key)
        if waits:
            watch.ring()

    def _ring_all(self) -> None:
        for watch in {w: None for found in self._watches.values() for w in found}:
            if self.unwatch(watch):
                watch.ring()

    def _check(self, key: bytes) -> None:
        """Look for the next one who waits for a list: to be told of changes, too."""
        self._checking.discard(key)
        for watch in self._watches.get(key, ()):
            self._ask(watch)
            return

    def _touched(self, keys: Any) -> None:
        if keys is None:  # the whole database was emptied
            self._ring_all()
        for key in keys or ():
            for watch in self._watches.get(key, ()):
                self._ring(watch)
                break

    # -- patterns ---------------------------------------------------------------------

    def listen(self, pattern: str, hears: Hears) -> None:
        """Have `hears(pattern, channel, payload)` called for what is published."""
        name = pattern.encode()
        found = self._patterns.setdefault(name, [])
        found.append(hears)
        if len(found) == 1:
            self._send("PSUBSCRIBE", name)

    def unlisten(self, pattern: str, hears: Hears) -> None:
        """Undo one `listen`."""
        name = pattern.encode()
        found = self._patterns.get(name, [])
        with suppress(ValueError):
            found.remove(hears)
            if not found:
                del self._patterns[name]
                self._send("PUNSUBSCRIBE", name)

    def stop(self, reader: object) -> None:
        """Read nothing more: somebody has more than it can take."""
        self._full.add(reader)
        if self._transport is not None and len(self._full) == 1:
            self._transport.pause_reading()

    def go_on(self, reader: object) -> None:
        """Undo one `stop`."""
        if reader in self._full:
            self._full.discard(reader)
            if self._transport is not None and not self._full:
                self._transport.resume_reading()

    # -- the connection ---------------------------------------------------------------

    def _send(self, *command: Any) -> None:
        if self._transport is None:
            # All that is watched and listened to is said when there is a connection.
            self._soon()
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(pack(command).data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(b"".join(out))

    def _soon(self) -> None:
        if self._opening is None and self._transport is None and not self._closed:
            # In an empty context: the transport's callbacks keep that of the task.
            self._opening = contextvars.Context().run(
                self._loop.create_task, self._open()
            )

    async def _open(self) -> None:
        pause = _FIRST
        try:
            while self._watches or self._patterns:
                try:
                    self._keep = await self._address.open(self)
                except Exception:
                    # Those who wait find out what is wrong when they look.
                    self._ring_all()
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
        self._transport, self._heard = transport, True
        self.deaf = False
        transport.set_protocol(self)
        let_go_in_children(self)
        self.opened += 1
        for command in (("HELLO", 3), ("CLIENT", "TRACKING", "ON")):
            self._asked.append(None)
            self._send(*command)
        if self._patterns:
            self._send("PSUBSCRIBE", *self._patterns)
        for watch in {w: None for found in self._watches.values() for w in found}:
            self._ask(watch)
        self._beat = self._loop.call_later(BEAT, self._listen_for_life)
        if received:
            self.data_received(received)

    def _listen_for_life(self) -> None:
        if self._transport is None:
            return
        if not self._heard and not self._full:
            self._transport.abort()
            return
        self._heard = False
        self._asked.append(None)
        self._send("PING")
        self._beat = self._loop.call_later(BEAT, self._listen_for_life)

    def data_received(self, data: bytes) -> None:
        """Ring for what has changed, and hand out what was published."""
        self._heard = True
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not NOTHING:
                if isinstance(reply, list):
                    self._told(reply)
                elif self._asked:
                    self._answered(self._asked.popleft(), reply)
        except InvalidResponse:
            self.abort()

    def _told(self, push: list[Any]) -> None:
        if push[0] == b"invalidate":
            self._touched(push[1])
        elif push[0] == b"pmessage":
            for hears in list(self._patterns.get(push[1], ())):
                hears(*push[1:])

    def _answered(self, watch: Watch | None, reply: Any) -> None:
        if isinstance(reply, Exception):
            # An old server, or an ACL: then it is looked at now and then. Which command
            # it was that failed cannot be told: those that succeed as pushes do.
            if not self.deaf:
                _logger.warning(
                    "%s: Redis is asked for messages every %g s; to be told of them"
                    " let the user call HELLO, CLIENT TRACKING, EXISTS and PSUBSCRIBE",
                    reply,
                    POLL,
                )
            self.deaf = True
            self._asked.clear()
            for one in {w for found in self._watches.values() for w in found}:
                self._loop.call_later(POLL, self._ring, one)
        elif watch is not None and reply:
            self._ring(watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have everybody look, which shows whether the server is away."""
        self._transport = self._keep = None
        self._asked.clear()
        self._out.clear()
        self._full.clear()
        if self._beat is not None:
            self._beat.cancel()
        self._ring_all()
        if self._watches or self._patterns:
            self._soon()

    def abort(self) -> None:
        """Give the connection up."""
        if self._transport is not None:
            self._transport.abort()

    async def aclose(self) -> None:
        """Close the connection; nobody is rung any more."""
        self._closed = True
        self._watches.clear()
        self._patterns.clear()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)


_bells: PerServer[Bell] = PerServer()


def bell_for(address: Address) -> Bell:
    """Return the running loop's bell at a server."""
    return _bells.get(address, Bell)


def bells() -> list[Bell]:
    """Return the bells of all live loops of this process."""
    return _bells.all()
