"""Waiting for room and for replies, with one timer for all instead of one for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ..core.loops import LoopLocal
from ..core.route import Expired
from ..errors import publish_timeout

__all__ = (
    "Deadlines",
    "Retries",
    "Turnstile",
    "deadlines_of",
    "retries_of_loop",
    "turnstile_of",
)

#: Sends that are let in at once: as many messages are built in one turn of the loop.
STARTS = 128
#: Failed sends of one loop that upstream's code goes on with at once.
RETRIES = 64


def out_of_time(
    label: str, seconds: float, uncertain: bool, task_id: str
) -> BaseException:
    """Return the error of a send whose deadline has come."""
    error = publish_timeout(Expired(label, seconds, uncertain, 0, 0))
    error.task_id = task_id
    return error


#: When, whose future, the id of its task, the broker, whether it may have been sent.
Entry = tuple[float, "asyncio.Future[Any]", str, str, bool]


class Deadlines:
    """The futures of one loop that all have the same number of seconds."""

    __slots__ = ("_places", "_replies", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Each in the order of its ends. Who has waited for a place comes to the replies
        # with an end before those of the places that others wait for.
        self._places: deque[Entry] = deque()
        self._replies: deque[Entry] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(
        self,
        future: asyncio.Future[Any],
        end: float,
        task_id: str,
        label: str,
        uncertain: bool = True,
    ) -> None:
        """Fail `future` with a `PublishTimeout` unless it is done by `end`.

        Arguments:
            future: of a reply, or of a place in a `Turnstile`.
            end: the time of the loop.
            task_id: what the error carries.
            label: the masked URL of the broker.
            uncertain: whether the message may have been sent.
        """
        queue = self._replies if uncertain else self._places
        while queue and queue[0][1].done():
            queue.popleft()
        queue.append((end, future, task_id, label, uncertain))
        timer = self._timer
        if timer is None or end < timer.when():
            if timer is not None:
                timer.cancel()
            self._timer = future.get_loop().call_at(end, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        ends = []
        for queue in (self._replies, self._places):
            while queue:
                end, future, task_id, label, uncertain = queue[0]
                if not future.done():
                    if end > now:
                        ends.append(end)
                        break
                    future.set_exception(
                        out_of_time(label, self.seconds, uncertain, task_id)
                    )
                queue.popleft()
        if ends:
            self._timer = loop.call_at(min(ends), self._expire)


class Turnstile:
    """Where sends wait for room on one connection, first come, first served."""

    __slots__ = ("_pump", "waiting")

    def __init__(self) -> None:
        #: Those who wait, longest first.
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._pump: asyncio.Task[None] | None = None

    def join(self, mux: Any) -> asyncio.Future[None]:
        """Return a future that is done when its owner may go through."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self.waiting.append(place)
        if self._pump is None:
            self._pump = loop.create_task(self._let_in(mux))
        return place

    async def _let_in(self, mux: Any) -> None:
        waiting = self.waiting
        try:
            while waiting:
                await mux.wait_room()
                free = min(mux.free, STARTS)
                while waiting and free > 0:
                    place = waiting.popleft()
                    if not place.done():
                        place.set_result(None)
                        free -= 1
                # They must have pushed before the room is looked at again.
                await asyncio.sleep(0)
        finally:
            self._pump = None
            while waiting:  # cancelled with the loop: nobody is left behind
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)


class Retries:
    """Places for the sends of one loop that have failed, first come, first served.

    Who has none is a future and nothing more: hundreds of calls that upstream's code
    keeps waiting are so many objects that Python's collector, looking at them all,
    stops the loop.

    Arguments:
        places: how many there are.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int = RETRIES) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def join(self, end: float, expired: Callable[[], BaseException]) -> None:
        """Wait for a place until `end`, a time of the loop; then raise `expired()`."""
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        timer = loop.call_at(end, _refuse, place, expired)
        try:
            await place
        except BaseException:
            # One whose coroutine was closed must not be let in later; one that was
            # let in and leaves gives the place away.
            if not place.cancel() and not place.cancelled() and not place.exception():
                self.leave()
            raise
        finally:
            timer.cancel()

    def leave(self) -> None:
        """Give a place back."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


def _refuse(place: asyncio.Future[None], expired: Callable[[], BaseException]) -> None:
    if not place.done():
        place.set_exception(expired())


_retries: LoopLocal[Retries] = LoopLocal(Retries)
_deadlines: LoopLocal[dict[float, Deadlines]] = LoopLocal(dict)
_turnstiles: LoopLocal[dict[int, Turnstile]] = LoopLocal(dict)


def deadlines_of(seconds: float) -> Deadlines:
    """Return the running loop's watch over futures with so many seconds."""
    found = _deadlines.get()
    watch = found.get(seconds)
    if watch is None:
        if len(found) >= 64:  # a new number of seconds for every call
            found.clear()
        watch = found[seconds] = Deadlines(seconds)
    return watch


def retries_of_loop() -> Retries:
    """Return the running loop's places for sends that have failed."""
    return _retries.get()


def turnstile_of(mux: Any) -> Turnstile:
    """Return the turnstile of a connection of the running loop."""
    found = _turnstiles.get()
    turnstile = found.get(id(mux))
    if turnstile is None:
        turnstile = found[id(mux)] = Turnstile()
    return turnstile
