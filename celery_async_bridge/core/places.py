"""Places for what holds many objects while it runs, so many for each server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Any

from .deadlines import LATE, deadlines_of
from .loops import LoopLocal

__all__ = ("PLACES", "Places", "places_of")

#: Sends to one server that run upstream's code on one loop at once.
PLACES = 24


class Places:
    """Places of one loop, first come, first served.

    Who has none is a future and nothing more: hundreds of calls that upstream's code
    keeps waiting are so many objects that Python's collector, looking at them all,
    stops the loop, and hundreds that run out of time in there have much to unwind.

    Arguments:
        places: how many there are.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int = PLACES) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[Any]] = deque()

    def take(self) -> bool:
        """Take a free place; False if there is none."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def join(self, seconds: float | None, began: float) -> bool:
        """Wait for a place.

        Arguments:
            seconds: how long, or None.
            began: from when on.

        Returns:
            whether there is one: False when the time is up.
        """
        if self.take():
            return True
        place: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        if seconds is not None:
            deadlines_of(seconds, "place").watch(place, began + seconds)
        try:
            return await place is not LATE
        except BaseException:
            # One whose coroutine was closed must not be let in later; one that was
            # let in and leaves gives the place away.
            served = not place.cancel() and not place.cancelled()
            if served and place.result() is not LATE:
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


_places: LoopLocal[dict[Hashable, Places]] = LoopLocal(dict)


def places_of(server: Hashable) -> Places:
    """Return the running loop's places for calls to a server."""
    found = _places.get()
    places = found.get(server)
    if places is None:
        places = found[server] = Places()
    return places
