"""One multiplexed connection per loop and server.

The commands of one turn of the loop leave in one write; replies come in order. A
caller gets its own error, and one that is cancelled before the write was never sent.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis.exceptions import TimeoutError as RedisTimeout

from .link import Batch, Link, Told, lost
from .per_server import PerServer

if TYPE_CHECKING:
    from .address import Address

__all__ = ("Mux", "mux_for", "muxes")

#: Seconds that an expired stall timer waits before it judges: a loop that was busy
#: has not read what its socket holds.
GRACE = 0.25


#: Commands that leave in one turn of the loop: to make more would keep it for too long.
AT_ONCE = 128


class Mux:
    """The connection of one loop to one server.

    Attributes:
        limit: commands that may wait for their replies at once.
        generation: counts the physical connections.
    """

    def __init__(self, address: Address, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self.limit = limit
        self.generation = 0
        self._link: Link | None = None
        self._keep: Any = None
        self._opening: asyncio.Task[Exception | None] | None = None
        #: The attempt that `aclose` has ended.
        self._ended: asyncio.Task[Exception | None] | None = None
        self._out: list[tuple[bytes, asyncio.Future[Any] | Batch]] = []
        #: What has commands to add when they leave.
        self._last: list[Callable[[], object]] = []
        self._queue: deque[asyncio.Future[None]] = deque()
        #: Those who were let in and have not pushed yet.
        self._granted = 0
        self._timer: asyncio.TimerHandle | None = None
        self._seen = -1
        #: What has something to put back before the connection is closed.
        self.guests: WeakSet[Any] = WeakSet()

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._link is not None

    @property
    def token(self) -> object | None:
        """Stands for the connection that there is; None if there is none."""
        return None if self._link is None else self._link.token

    @property
    def in_flight(self) -> int:
        """Commands and batches that wait for a reply, or to be written."""
        return len(self._out) + (0 if self._link is None else len(self._link.waiting))

    @property
    def free(self) -> int:
        """Commands that may be pushed at once; those who were let in have a place."""
        most = self.limit - self.in_flight, AT_ONCE - len(self._out)
        return min(most) - self._granted

    @property
    def room(self) -> bool:
        """Whether another command may be pushed now."""
        link = self._link
        return (
            link is not None
            and link.writable
            and not self._queue
            and not self._granted
            and len(self._out) < AT_ONCE
            and len(self._out) + len(link.waiting) < self.limit
        )

    async def wait_room(self) -> None:
        """Wait until another command may be pushed; first come, first served."""
        if self.room or self._link is None:
            return
        place = self._loop.create_future()
        self._queue.append(place)
        try:
            await place
        finally:
            # One whose coroutine was closed must not be let in later.
            if not place.cancel() and not place.cancelled():
                self._granted -= 1
                # Who was let in and has left makes room for the next.
                self._loop.call_soon(self._admit)

    def push(self, data: bytes) -> asyncio.Future[Any]:
        """Send one packed command; the future gets its reply or its error."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._enter(data, future)
        return future

    def push_many(self, data: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send packed commands in one piece; the future gets the list of replies.

        Errors of single commands are items of the list.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._enter(data, Batch(future, count))
        return future

    def tell(
        self,
        data: bytes,
        count: int,
        tell: Callable[[Any, BaseException | None], object],
    ) -> None:
        """Send packed commands as `push` or `push_many` does, but without a future.

        Arguments:
            data: the commands.
            count: how many.
            tell: gets the reply, or the list of replies, and None; or None and the
                error. At once, so it must not raise.
        """
        told: Any = Told(tell)
        self._enter(data, told if count == 1 else Batch(told, count))

    @property
    def idle(self) -> bool:
        """Whether there is a connection, and nothing that uses it or waits for it."""
        link = self._link
        return (
            link is not None
            and link.writable
            and not (link.waiting or self._out or self._last)
            and not (self._queue or self._granted)
        )

    def tell_now(
        self,
        data: bytes,
        count: int,
        tell: Callable[[Any, BaseException | None], object],
    ) -> None:
        """Do what `tell` does, at once; the connection must be `idle`."""
        link = self._link
        assert link is not None  # it is idle
        told: Any = Told(tell)
        link.waiting.append(Batch(told, count))
        link.write(data)
        if self._timer is None:
            self._watch(self._address.stall)

    def before_flush(self, fn: Callable[[], object]) -> None:
        """Have `fn` called when this turn's commands leave; its own go with them."""
        if not self._out and not self._last:
            self._loop.call_soon(self._flush)
        self._last.append(fn)

    def has_written(self, sent: asyncio.Future[Any]) -> bool:
        """Whether what `push` or `push_many` returned this for has left."""
        return all(
            sent is not (entry.future if isinstance(entry, Batch) else entry)
            for _, entry in self._out
        )

    def _enter(self, data: bytes, entry: asyncio.Future[Any] | Batch) -> None:
        if self._link is None:
            future = entry.future if isinstance(entry, Batch) else entry
            future.set_exception(lost("Not connected", uncertain=False))
            return
        out = self._out
        if not out and not self._last:
            self._loop.call_soon(self._flush)
        out.append((data, entry))

    def _flush(self) -> None:
        for fn in self._last:
            fn()
        self._last.clear()
        out, self._out = self._out, []
        link = self._link
        if link is None:  # lost in between; nothing of this was written
            self._drop(out)
            return
        waiting = link.waiting
        pieces = []
        for data, entry in out:
            future = entry.future if type(entry) is Batch else entry
            if not future.done():  # type: ignore[union-attr]
                pieces.append(data)
                waiting.append(entry)
        if pieces:
            link.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if self._timer is None:
                self._watch(self._address.stall)
        if self._queue:
            self._admit()

    def _drop(self, out: list[tuple[bytes, asyncio.Future[Any] | Batch]]) -> None:
        for _, entry in out:
            future = entry.future if isinstance(entry, Batch) else entry
            if not future.done():
                future.set_exception(lost("Connection lost", uncertain=False))
                future.exception()

    def _admit(self) -> None:
        """Let in as many of those who wait for room as there is room."""
        link, queue = self._link, self._queue
        if link is None or not queue:
            return
        free = self.free
        while queue and free > 0 and link.writable:
            free -= self._grant(queue.popleft())

    def _grant(self, place: asyncio.Future[None]) -> int:
        if place.done():
            return 0
        place.set_result(None)
        self._granted += 1
        return 1

    def _watch(self, seconds: float) -> None:
        assert self._link is not None
        self._seen = self._link.progress
        self._timer = self._loop.call_later(seconds, self._judge, False)

    def _judge(self, again: bool) -> None:
        """Give up a connection on which commands wait and nothing comes in."""
        self._timer = None
        link = self._link
        if link is None or not link.waiting:
            return
        if link.progress != self._seen:
            self._watch(self._address.stall)
        elif not again:
            self._timer = self._loop.call_later(GRACE, self._judge, True)
        else:
            error = RedisTimeout("Timeout reading from socket")
            error.uncertain = True  # type: ignore[attr-defined]
            # In this order: a link that has failed does not hold its transport.
            link.abort()
            link.fail(error)

    async def ready(self) -> None:
        """Connect, unless there is a connection; concurrent callers share the attempt.

        Raises:
            redis.exceptions.ConnectionError: and its kin, as redis-py raises them.
        """
        while self._link is None:
            if self._opening is None:
                # In an empty context: the transport keeps the one it is made in.
                self._opening = contextvars.Context().run(
                    self._loop.create_task, self._open()
                )
                self._opening.add_done_callback(self._opened)
            opening = self._opening
            try:
                # A caller that leaves must not end the attempt of the others.
                failure = await asyncio.shield(opening)
            except asyncio.CancelledError:
                if opening is not self._ended:
                    raise
                task = asyncio.current_task()
                if getattr(task, "cancelling", int)():
                    raise
                # `aclose` has ended the attempt; nobody has cancelled the caller.
                raise lost("The connection was closed", uncertain=False) from None
            if failure is not None:
                try:
                    # Each its own: whoever raises it adds to its traceback.
                    raise _again(failure)
                finally:
                    del failure  # or the traceback keeps itself, and the call, alive

    async def _open(self) -> Exception | None:
        link = Link(self._admit, self._gone, managed=self._address.managed)
        try:
            self._keep = await self._address.open(link)
        except Exception as exc:
            # Not raised: a loop that ends just now would report it, and nobody waits.
            return exc
        self._link = link
        self.generation += 1
        return None

    def _opened(self, task: asyncio.Task[Exception | None]) -> None:
        self._opening = None
        self._admit()

    def _gone(self, link: Link) -> None:
        if link is self._link:
            self._link = None
            out, self._out = self._out, []
            self._drop(out)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            queue, self._queue = self._queue, deque()
            for place in queue:  # their push says that there is no connection
                self._grant(place)

    async def aclose(self) -> None:
        """Close the connection and end what waits on it."""
        for guest in list(self.guests):
            with suppress(Exception):
                await guest.farewell()
        if self._opening is not None:
            self._ended = self._opening
            self._opening.cancel()
            with suppress(BaseException):
                await self._opening
        link = self._link
        if link is not None:
            with suppress(asyncio.TimeoutError):
                await link.aclose()
        self._keep = None


def _again(failure: Exception) -> Exception:
    own = copy(failure)
    own.__cause__, own.__context__ = failure.__cause__, failure.__context__
    return own


_muxes: PerServer[Mux] = PerServer()


def mux_for(address: Address, limit: int = 512) -> Mux:
    """Return the running loop's connection to a server, without connecting it."""
    return _muxes.get(address, lambda one: Mux(one, limit))


def muxes() -> list[Mux]:
    """Return the connections of all live loops of this process."""
    return _muxes.all()
