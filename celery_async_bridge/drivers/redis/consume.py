"""Waiting for messages on Redis: who waits, what is delivered, and what is due."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ...core.carry import capture
from ...core.fair import Fair, give_way
from ...core.loops import LoopLocal
from ...core.trampoline import Hand, await_, spawn
from .address import address_of
from .alone import reads
from .bell import bell_for
from .intake import Intake
from .ledger import Ledger, ledger_of
from .tending import Tending
from .threaded import in_thread

__all__ = ("Desk", "desk_at", "drain", "drain_here")

#: Seconds that a call without patience waits for the answer to its question.
GRACE = 0.1
#: Seconds after which somebody who waits looks, whatever has been heard.
SAFETY = 5.0
#: Seconds of one wait in a thread, for connections that only their class can open.
SLICE = 0.1
#: Of a transport: the desk that was used last.
_SLOT = "_bridge_desk"


class Desk:
    """Hands out the events of one Kombu connection on one loop.

    Many calls may wait at once. Each message wakes one of them, and one that leaves
    without it passes the wake-up on.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = weakref.ref(transport)
        self._loop = asyncio.get_running_loop()
        self._thread, self._pid = threading.get_ident(), os.getpid()
        self._waiters: deque[tuple[asyncio.Future[bool], bool]] = deque()
        self._intakes: weakref.WeakKeyDictionary[Any, Intake] = (
            weakref.WeakKeyDictionary()
        )
        #: Those that may have something, the next one first.
        self._ready: deque[Intake] = deque()
        self.fair = Fair()
        self._tending = Tending()
        #: Runs the callbacks of those who are not in a trampoline.
        self.hand = Hand()
        #: Calls that wait at the desk.
        self.busy = 0

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def here(self) -> bool:
        """Whether this is the desk of the running loop."""
        return asyncio.get_running_loop() is self._loop and os.getpid() == self._pid

    def serves(self, transport: Any) -> bool:
        """Whether this is the desk of a transport."""
        return transport is not None and transport is self._transport()

    # -- waiting ----------------------------------------------------------------------

    def wake(self, count: int = 1) -> None:
        """Wake those who have waited longest."""
        while self._waiters and count > 0:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                count -= 1

    def wake_urgent(self) -> None:
        """Wake those who have no time left: nothing has come."""
        for waiter, urgent in list(self._waiters):
            if urgent and not waiter.done():
                waiter.set_result(True)

    def wake_soon(self, intake: Intake) -> None:
        """Look again what there is in an intake, from any thread."""
        if threading.get_ident() == self._thread:
            self._reconsider(intake)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reconsider, intake)

    def _reconsider(self, intake: Intake) -> None:
        self.offer(intake)
        self.wake()

    async def _pause(self, seconds: float, urgent: bool) -> bool:
        """Wait until there may be something, at most so long; False if nobody woke us.

        Arguments:
            seconds: how long.
            urgent: it must also end when the server says that there is nothing.
        """
        waiter: asyncio.Future[bool] = self._loop.create_future()
        entry = (waiter, urgent)
        self._waiters.append(entry)
        timer = self._loop.call_later(seconds, _set, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            with suppress(ValueError):
                self._waiters.remove(entry)
        return waiter.result()

    async def event(self, timeout: float | None) -> Callable[[], bool] | None:
        """Wait until there is an event; return what delivers it, as `next` does.

        None if something that is consumed here cannot be claimed natively.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            redis.exceptions.ConnectionError: the connection was lost.
        """
        end = None if timeout is None else self._loop.time() + timeout
        looked, rang = False, False
        self.busy += 1
        try:
            while True:
                found = self.next()
                if found is not None:
                    return found
                if not self._takes():
                    return None
                left = SAFETY if end is None else end - self._loop.time()
                if left > 0 or not looked:
                    # Who was not rung looks itself: at first, and for safety's sake.
                    await self._look(anew=not rang)
                    looked = True
                if left <= 0 and not self._asking:
                    raise TimeoutError("timed out")
                seconds = min(left, SAFETY) if left > 0 else GRACE
                rang = await self._pause(seconds, left <= 0)
                if left <= 0 and not rang:
                    raise TimeoutError("timed out")
        finally:
            self._leave()

    def _leave(self) -> None:
        """Note that a call has come to its end; the next one goes on from there."""
        self.busy -= 1
        if self.busy:
            # It may have been woken to ask, or there may be more.
            self.wake()
            return
        for intake in list(self._intakes.values()):
            intake.rest()

    # -- events -----------------------------------------------------------------------

    def offer(self, intake: Intake) -> None:
        """Note that there may be something in an intake."""
        if not intake.offered:
            intake.offered = True
            self._ready.append(intake)

    def next(self) -> Callable[[], bool] | None:
        """Return what delivers an event, in a trampoline, or None.

        It must be called at once. The channels take turns.
        """
        ready = self._ready
        while ready:
            intake = ready[0]
            if intake.delivers():
                ready.rotate(-1)
                return intake.deliver
            intake.offered = False
            ready.popleft()
        return None

    def at_once(
        self, connection: Any, timeout: float | None, *, waits: bool = True
    ) -> Any:
        """Deliver an event of a connection, at once if there is one.

        Arguments:
            connection: Kombu's.
            timeout: seconds to wait for one, or None.
            waits: else, if there is none, there is only a turn for others that is owed.

        Returns:
            True, or what must be awaited for it; None if it cannot be done here. What
            is awaited raises as `event`.
        """
        transport = self._transport()
        if transport is None or connection._transport is not transport or not self.here:
            return None
        owed = self.fair.owes_turn()
        if not owed:
            deliver = self.next()
            if deliver is not None:
                return self.hand.begin(capture(deliver)) or self.serve(timeout)
        if not waits:
            return give_way() if owed else None
        if not connection.connected or any(map(reads, transport.channels)):
            return None
        return self.serve(timeout, owed=owed)

    async def serve(self, timeout: float | None, *, owed: bool = False) -> bool:
        """Deliver one event, as soon as there is one; False if it cannot be done here.

        The callbacks run in a trampoline.

        Arguments:
            timeout: seconds, or None.
            owed: the others on the loop are to have a turn first.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            redis.exceptions.ConnectionError: the connection was lost.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if owed or self.fair.owes_turn():
                await asyncio.sleep(0)
                owed = False
            deliver = self.next()
            if deliver is None:
                left = None if end is None else max(end - time.monotonic(), 0.0)
                deliver = await self.event(left)
            if deliver is None:
                return False
            if await self.hand.run(capture(deliver)):
                return True

    def _takes(self) -> bool:
        return all(address_of(one.pool) is not None for one in self._consuming())

    def _consuming(self) -> list[Any]:
        transport = self._transport()
        channels = [] if transport is None else transport.channels
        return [channel for channel in channels if channel._consumers]

    @property
    def _asking(self) -> bool:
        """Whether the server has still to say if there is something."""
        return any(intake.asking for intake in list(self._intakes.values()))

    async def _look(self, *, anew: bool) -> None:
        """See to it that events will come.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost, or cannot be made.
        """
        for channel in self._consuming():
            intake = self._intake(channel)
            if intake is None:
                continue
            failure, intake.failure = intake.failure, None
            if failure is not None:
                raise failure
            await intake.ledger.ready()
            if intake.closed or channel.connection is None:
                continue
            buried, intake.ledger.buried = intake.ledger.buried, []
            intake.ledger.unbury(buried)
            if intake.ledger.doubtful or intake.ledger.orphans:
                await spawn(capture(partial(_restore_doubtful, channel, intake.ledger)))
            if channel.active_fanout_queues or intake.fanout:
                intake.fanout.subscribe()
            intake.want(anew=anew)
        self._tending.begin(self._consuming())

    def _intake(self, channel: Any) -> Intake | None:
        intake = self._intakes.get(channel)
        if intake is None or intake.closed:
            ledger = ledger_of(channel)
            if ledger is None:
                return None
            address = address_of(channel.pool)
            assert address is not None  # it has a ledger
            intake = Intake(channel, self, ledger, bell_for(address))
            self._intakes[channel] = intake
        return intake

    def stop_tending(self) -> None:
        """Refresh nothing more of what ends now."""
        self._tending.stop()


def _set(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


def _restore_doubtful(channel: Any, ledger: Ledger) -> None:
    """Put back what was claimed when the connection broke: nobody has seen it."""
    for score in list(ledger.doubtful):
        ledger.orphans.update(await_(ledger.tags_at(score)))
        ledger.doubtful.discard(score)
    for tag in list(ledger.orphans):
        channel.qos.restore_by_tag(tag)
        ledger.orphans.discard(tag)


_local: LoopLocal[weakref.WeakKeyDictionary[Any, Desk]] = LoopLocal(
    weakref.WeakKeyDictionary
)


def desk_at(transport: Any) -> Desk:
    """Return the running loop's desk for a transport, made on first use."""
    kept = vars(transport).get(_SLOT)
    desk: Desk | None = None if kept is None else kept()
    if desk is None or not desk.here:
        found = _local.get()
        desk = found.get(transport)
        if desk is None:
            desk = found[transport] = Desk(transport)
        vars(transport)[_SLOT] = weakref.ref(desk)
    return desk


def drain_here(transport: Any, timeout: float | None) -> None:
    """Deliver one event of a Kombu transport, in the running trampoline.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
        redis.exceptions.ConnectionError: the connection was lost.
    """
    desk = desk_at(transport)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        if desk.fair.owes_turn():
            await_(asyncio.sleep(0))
        deliver = desk.next()
        if deliver is None:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            deliver = await_(desk.event(left))
        if deliver is None:
            _drain_threaded(transport, end)
            return
        if deliver():
            return


async def drain(connection: Any, timeout: float | None) -> None:
    """Deliver one event of a Kombu connection; the callbacks run in a trampoline.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
        redis.exceptions.ConnectionError: the connection was lost.
    """
    if not connection.connected:
        await spawn(capture(lambda: connection.connection))
    transport = connection.transport
    end = None if timeout is None else time.monotonic() + timeout
    if not await desk_at(transport).serve(timeout):
        await spawn(partial(_drain_threaded, transport, end))


def _drain_threaded(transport: Any, end: float | None) -> None:
    """Drain what only its own connection class can read, in slices in a thread."""
    while True:
        left = SLICE if end is None else min(SLICE, end - time.monotonic())
        wait = partial(transport.drain_events, transport, timeout=max(left, 0.0))
        try:
            in_thread(transport.channels[0].pool, wait)
        except TimeoutError:
            if end is not None and time.monotonic() >= end:
                raise
        else:
            return
