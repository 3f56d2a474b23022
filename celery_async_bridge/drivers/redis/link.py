"""One physical connection: bytes out, replies in, matched in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any

from redis.exceptions import ConnectionError, InvalidResponse, ReadOnlyError

from .forked import let_go_in_children
from .replies import NOTHING, PUSH, new_reader

__all__ = ("Batch", "Link", "Told", "lost")

#: Seconds that a peer is given to say good-bye.
LINGER = 1.0

#: Replies that are delivered in one turn of the loop. Less would split what a hundred
#: callers send next into several writes, which costs the server more.
AT_ONCE = 128
#: The same for those that fail: each unwinds a call.
FAIL_AT_ONCE = 64


def lost(text: str, *, uncertain: bool) -> ConnectionError:
    """Return the error of a command whose connection went away.

    Its attribute `uncertain` says whether the command had been written, so that the
    server may have carried it out.
    """
    error = ConnectionError(text)
    error.uncertain = uncertain  # type: ignore[attr-defined]
    return error


class Batch:
    """Commands that are written together and answered by a list of replies."""

    __slots__ = ("count", "future", "replies")

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        self.future = future
        self.count = count
        self.replies: list[Any] = []


class Told:
    """Stands in for a future where nobody awaits one: what comes is told at once.

    Arguments:
        tell: gets the reply and None, or None and the error; it must not raise.
    """

    __slots__ = ("_done", "_tell")

    def __init__(self, tell: Callable[[Any, BaseException | None], object]) -> None:
        self._tell = tell
        self._done = False

    def done(self) -> bool:
        """Whether it was told."""
        return self._done

    def set_result(self, reply: Any) -> None:
        """Tell the reply."""
        self._done = True
        self._tell(reply, None)

    def set_exception(self, error: BaseException) -> None:
        """Tell the error."""
        self._done = True
        self._tell(None, error)

    def exception(self) -> None:
        """Do nothing: somebody was told."""


class Link(asyncio.Protocol):
    """The protocol of one connection; a new connection has a new one.

    So a late `connection_lost` of an old connection can never fail the commands of
    its successor.

    Arguments:
        on_replies: called after replies have come in.
        on_lost: called once, when the connection is gone.
        managed: whether Sentinel found this server: then one that has become a
            replica is left, so that the next connection asks Sentinel again.
    """

    def __init__(
        self,
        on_replies: Callable[[], object],
        on_lost: Callable[[Link], object],
        *,
        managed: bool = False,
    ) -> None:
        self._reader = new_reader()
        self._on_replies = on_replies
        self._on_lost = on_lost
        self._managed = managed
        self._transport: asyncio.Transport | None = None
        #: The same, until its socket is closed.
        self.transport: asyncio.Transport | None = None
        #: Stands for this connection where nothing may keep it alive.
        self.token = object()
        #: What waits for a reply: futures of one reply each, and batches.
        self.waiting: deque[asyncio.Future[Any] | Batch] = deque()
        #: Whether the socket takes more.
        self.writable = True
        #: Counts what came in: a connection that moves is not a dead one.
        self.progress = 0
        self._closed: asyncio.Future[None] | None = None
        #: Whether replies that have come in are still to be delivered.
        self._behind = False

    def attach(self, transport: asyncio.Transport, received: bytes) -> None:
        """Take over a connected transport and what it has received already."""
        self._transport = self.transport = transport
        transport.set_protocol(self)
        let_go_in_children(self)
        if received:
            self.data_received(received)

    def write(self, data: bytes) -> None:
        """Write what belongs to the entries that were put into `waiting`."""
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to the one who waits longest."""
        self._reader.feed(data)
        self.progress += 1
        if not self._behind:
            self._deliver()

    def _deliver(self) -> None:
        """Deliver what is complete, so much in one turn of the loop.

        Each reply wakes a call that goes on to its next command: hundreds of them at
        once would keep the loop from everything else.
        """
        self._behind = False
        try:
            self._behind = not self._take(AT_ONCE)
        except (InvalidResponse, IndexError):
            # A reply that nobody asked for: from here on none can be trusted.
            self.abort()
        if self._behind:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._on_replies()

    def _take(self, most: int) -> bool:
        """Settle at most so many entries; whether there is nothing left."""
        waiting, gets = self.waiting, self._reader.gets
        while most:
            reply = gets()
            if reply is NOTHING:
                return True
            if type(reply) is PUSH:
                continue
            if type(reply) is ReadOnlyError and self._managed:
                reply = demoted()
                self.abort()
            head = waiting[0]
            if type(head) is Batch:
                head.replies.append(reply)
                if len(head.replies) < head.count:
                    continue
                waiting.popleft()
                most -= 1
                if not head.future.done():
                    head.future.set_result(head.replies)
                continue
            waiting.popleft()
            most -= 1
            if head.done():  # type: ignore[union-attr]
                continue
            if isinstance(reply, Exception):
                head.set_exception(reply)  # type: ignore[union-attr]
            else:
                head.set_result(reply)  # type: ignore[union-attr]
        return False

    def pause_writing(self) -> None:
        """Note that the socket's buffer is full."""
        self.writable = False

    def resume_writing(self) -> None:
        """Note that the socket takes more."""
        self.writable = True
        self._on_replies()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits for a reply: its outcome is unknown."""
        self.transport = None
        with suppress(InvalidResponse, IndexError):
            # Replies that came before the end are certain.
            self._take(len(self.waiting))
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self.fail(lost(f"Connection lost: {exc or 'closed by server'}", uncertain=True))

    def fail(self, error: BaseException) -> None:
        """Fail everything that waits and report the loss, once."""
        self._transport = None
        waiting, self.waiting = self.waiting, deque()
        _fail(waiting, error)
        on_lost, self._on_lost = self._on_lost, lambda link: None
        on_lost(self)

    async def aclose(self) -> None:
        """Close the connection; what still waits is failed."""
        transport = self._transport
        if transport is None:
            return
        self._closed = asyncio.get_running_loop().create_future()
        self.fail(lost("The connection was closed", uncertain=True))
        transport.close()
        try:
            await asyncio.wait_for(self._closed, LINGER)
        finally:
            transport.abort()

    def abort(self) -> None:
        """Close the connection without writing what is still buffered."""
        if self._transport is not None:
            self._transport.abort()


def _fail(waiting: deque[asyncio.Future[Any] | Batch], error: BaseException) -> None:
    """Fail so many in one turn of the loop, longest waiting first, until all are."""
    for _ in range(min(len(waiting), FAIL_AT_ONCE)):
        entry = waiting.popleft()
        future = entry.future if isinstance(entry, Batch) else entry
        if not future.done():
            # Each its own: whoever raises it adds to its traceback.
            future.set_exception(copy(error))
            # Its owner may have left without cancelling it.
            future.exception()
    if waiting:
        asyncio.get_running_loop().call_soon(_fail, waiting, error)


def demoted() -> ConnectionError:
    """Return the error for a master that has become a replica; nothing was written."""
    return lost("The previous master is now a slave", uncertain=False)
