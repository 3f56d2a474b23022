"""One poller per result backend and loop: all who wait share each look at it."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable
from typing import Any

from ...core.loops import LoopLocal

__all__ = ("Failure", "Feed", "Fetch", "Poller", "Watch", "poller_for")

#: Seconds between two looks while somebody has just begun to wait.
EAGER = 0.01
#: How much longer each pause is than the one before.
GROWTH = 1.5
#: Seconds that the first look may take although the caller's timeout is shorter: a
#: result that is there must be found with `timeout=0`.
FIRST_LOOK = 1.0

#: Fetches the metas of `ids`; a `Failure` in the place of a meta concerns that task
#: alone. Unready ones are asked for in `every`.
Fetch = Callable[[set[str], set[str]], Awaitable[dict[str, Any]]]


class Failure:
    """An error in the place of a meta, as it was when it was raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self._traceback = error.__traceback__

    def again(self) -> BaseException:
        """Return the error for one of several who get it: they share the object."""
        return self.error.with_traceback(self._traceback)


def _fingerprint(meta: dict[str, Any]) -> tuple[Any, ...]:
    # A decoded exception is a new object each time and equals none.
    return (meta.get("status"), repr(meta.get("result")), meta.get("traceback"))


class Watch:
    """What one caller waits for: the metas of some tasks, as they arrive.

    Arguments:
        ids: the tasks.
        timeout: seconds in all, or None.
        interval: seconds between two looks at the backend, at most.
        on_interval: called with nothing after each interval without a result.
        every: deliver each change, not only the ready states.
    """

    __slots__ = (
        "_arrived",
        "_asked",
        "_clock",
        "_end",
        "_on_interval",
        "_seen",
        "_sleeper",
        "_start",
        "_taken",
        "_tick",
        "every",
        "ids",
        "interval",
    )

    def __init__(
        self,
        ids: Iterable[str],
        *,
        timeout: float | None = None,
        interval: float | None = 0.5,
        on_interval: Callable[[], object] | None = None,
        every: bool = False,
    ) -> None:
        self.ids = set(ids)
        self.every = every
        self.interval = 0.5 if interval is None else max(interval, 0.001)
        self._on_interval = on_interval
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._start = self._clock()
        self._end = None if timeout is None else self._start + timeout
        self._tick: float | None = None
        self._asked = False
        self._arrived: deque[tuple[str, Any]] = deque()
        self._taken: set[str] = set()
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._sleeper: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self.ids) + len(self._arrived)

    def offer(self, metas: dict[str, Any], ready: Collection[str]) -> None:
        """Take what the backend had; called by the feed on the loop."""
        for task_id in self.ids & metas.keys():
            meta = metas[task_id]
            if isinstance(meta, Failure) or meta["status"] in ready:
                self.ids.discard(task_id)
            elif not self.every or self._seen.get(task_id) == _fingerprint(meta):
                continue
            else:
                self._seen[task_id] = _fingerprint(meta)
            self._arrived.append((task_id, meta))
        if self._arrived:
            self._rise()

    def fail(self, failure: Failure) -> None:
        """End the wait with an error that concerns all tasks."""
        self._arrived.extend((task_id, failure) for task_id in self.ids)
        self.ids.clear()
        self.asked()

    def asked(self) -> None:
        """Note that the backend has been looked at."""
        if self._asked and not self._arrived:
            return
        first, self._asked = not self._asked, True
        # Whoever sleeps until the end need not be woken to sleep again.
        if self._arrived or self._on_interval is not None or (first and self._is_hasty):
            self._rise()

    @property
    def _is_hasty(self) -> bool:
        """Whether the time may be up before the first look is over."""
        return self._end is not None and self._end < self._start + FIRST_LOOK

    async def next(self) -> tuple[str, Any]:
        """Return the next task and its meta.

        Raises:
            TimeoutError: (builtin) nothing came in time.
            Exception: what the backend raised.
        """
        while not self._arrived:
            seconds = self._until(self._clock())
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, self._rise)
            # Not `asyncio.wait`: it takes a turn of the loop more, nor a coroutine of
            # its own: ten thousand wait.
            try:
                await self._sleeper
            finally:
                self._sleeper = None
                if timer is not None:
                    timer.cancel()
        task_id, meta = self._arrived.popleft()
        self._taken.add(task_id)
        if isinstance(meta, Failure):
            raise meta.again()
        return task_id, meta

    def more(self) -> list[tuple[str, Any]]:
        """Return what has arrived besides, up to the first error."""
        found = []
        while self._arrived and not isinstance(self._arrived[0][1], Failure):
            found.append(self._arrived.popleft())
            self._taken.add(found[-1][0])
        return found

    @property
    def settled(self) -> set[str]:
        """The tasks whose last meta was taken out of the watch."""
        return self._taken - self.ids

    def _until(self, now: float) -> float | None:
        """Return the seconds to sleep; raise or call back when it is time."""
        if not self._asked:
            if self._end is None:
                return None
            left = max(self._end, self._start + FIRST_LOOK) - now
        else:
            if self._on_interval is not None and now >= (self._tick or now):
                self._tick = now + self.interval
                self._on_interval()
            left = float("inf") if self._end is None else self._end - now
            if self._tick is not None and left > 0:
                left = min(left, max(self._tick - now, 0.001))
        if left <= 0:
            raise TimeoutError
        return None if left == float("inf") else left

    def _rise(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


class Feed:
    """Where the metas of a watch come from."""

    def join(self, watch: Watch) -> None:
        """Begin to deliver to `watch`."""
        raise NotImplementedError

    def leave(self, watch: Watch) -> None:
        """Stop delivering to `watch`, on whatever grounds it ended."""
        raise NotImplementedError

    def settle(self, ids: set[str]) -> None:
        """Forget the metas of tasks: who waited for them has them."""


def _nothing() -> None: ...


class Poller(Feed):
    """Looks at a backend again and again while somebody waits.

    It has a task only while there are watches, and holds no thread between two looks.

    Arguments:
        fetch: one look.
        ready: the states that end a wait.
        steady: whether a look itself waits a while, so that no pause is needed.

    Attributes:
        source: what `fetch` looks into.
        on_idle: called when the last watch has left.
    """

    def __init__(
        self, fetch: Fetch, ready: Collection[str], *, steady: bool = False
    ) -> None:
        self._fetch = fetch
        self._ready = ready
        self._steady = steady
        self.source: Any = None
        self.on_idle: Callable[[], object] = _nothing
        self._watches: set[Watch] = set()
        self._doubted: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._pause = EAGER
        self._nudge: asyncio.Future[None] | None = None

    def join(self, watch: Watch) -> None:
        """Look at once, and eagerly for a while."""
        self._watches.add(watch)
        self._pause = EAGER
        if self._task is None:
            # In an empty context: what the first waiter has in its own must not live
            # on in a task that serves all.
            loop = asyncio.get_running_loop()
            self._task = contextvars.Context().run(loop.create_task, self._run())
        elif self._nudge is not None and not self._nudge.done():
            self._nudge.set_result(None)

    def leave(self, watch: Watch) -> None:
        """Forget the watch; the last one ends the task."""
        if watch in self._watches:
            self._watches.discard(watch)
            if not self._watches:
                self.stop()

    def settle(self, ids: set[str]) -> None:
        """Tell the source, if it keeps what has come."""
        forget = getattr(self.source, "settle", None)
        if forget is not None and ids:
            forget(ids)

    def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self.on_idle()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            asking = [watch for watch in self._watches if watch.ids]
            began = clock()
            if asking:
                await self._look(asking)
            await self._rest(clock() - began)

    async def _look(self, asking: list[Watch]) -> None:
        ids = set().union(*(watch.ids for watch in asking))
        every = set().union(*(watch.ids for watch in asking if watch.every))
        try:
            metas = await self._fetch(ids, every)
        except Exception as exc:
            for watch in asking:
                watch.fail(Failure(exc))
        else:
            self._doubt(metas)
            for watch in asking:
                watch.offer(metas, self._ready)
                watch.asked()

    def _doubt(self, metas: dict[str, Any]) -> None:
        # A store that does not write at once (upstream's filesystem backend) can be
        # looked into half-way: an error counts when the next look finds it, too.
        broken = {id_ for id_, meta in metas.items() if isinstance(meta, Failure)}
        for id_ in broken - self._doubted:
            del metas[id_]
        self._doubted = broken

    async def _rest(self, took: float) -> None:
        waiting = [watch.interval for watch in self._watches if watch.ids]
        if waiting and self._steady:
            return
        # At most half of the time is spent looking, however many wait.
        pause = max(min(self._pause, *waiting), took) if waiting else None
        self._pause *= GROWTH
        clock = asyncio.get_running_loop().time
        began = clock()
        self._nudge = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({self._nudge}, timeout=pause)
        finally:
            self._nudge = None
        # One who has just come need not wait long, but looks must not follow each
        # other without a pause when somebody comes all the time.
        least = min(max(took, EAGER), pause or EAGER) - (clock() - began)
        if least > 0:
            await asyncio.sleep(least)


def _stop_all(pollers: dict[Hashable, Poller]) -> None:
    for poller in list(pollers.values()):
        poller.stop()


_pollers: LoopLocal[dict[Hashable, Poller]] = LoopLocal(dict, _stop_all)


def poller_for(key: Hashable, make: Callable[[], Poller]) -> Poller:
    """Return the running loop's poller of a backend; `key` identifies it."""
    pollers = _pollers.get()
    poller = pollers.get(key)
    if poller is None:
        poller = pollers[key] = make()

        def forget() -> None:
            if pollers.get(key) is poller:
                del pollers[key]

        poller.on_idle = forget
    return poller
