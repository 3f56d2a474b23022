"""Run one load and count what it costs."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..record import quantile

if TYPE_CHECKING:
    from ..control import Control
    from .scenario import Scenario

__all__ = ("WITHIN", "Figures", "Traveller", "measure")

#: Seconds that one trip may take.
WITHIN = 120.0
_WARM = 50


@dataclass(frozen=True)
class Traveller:
    """One way to send a task and to get its result.

    Attributes:
        trip: does so for task number i, on the running loop.
        blocking: does so in a thread; one of the two is there.
    """

    trip: Callable[[int], Awaitable[Any]] | None = None
    blocking: Callable[[int], Any] | None = None


@dataclass(frozen=True)
class Figures:
    """What one run of one load cost; times in seconds.

    Attributes:
        cpu: CPU of this process for each trip, all threads together.
        rate: trips per second.
        p50: half of the trips took at most this long.
        p99: so did 99 % of them.
        server: CPU of Redis for each trip.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    server: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


async def _loops(
    trip: Callable[[int], Awaitable[Any]], waiters: int, count: int
) -> list[float]:
    """Make trips in so many coroutines; return how long each one took."""
    numbers = iter(range(count))
    took: list[float] = []

    async def travel() -> None:
        for number in numbers:
            began = time.perf_counter()
            await trip(number)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(travel() for _ in range(waiters)))
    return took


class _Threads:
    """So many threads that make trips; each has made one when `go` is called."""

    def __init__(
        self, trip: Callable[[int], Any], waiters: int, numbers: Iterator[int]
    ) -> None:
        self._trip = trip
        self._numbers = numbers
        self._mutex = threading.Lock()
        self._start = threading.Event()
        self._warm = threading.Semaphore(0)
        self.took: list[float] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(waiters)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            self._warm.acquire()

    def _number(self) -> int | None:
        with self._mutex:
            return next(self._numbers, None)

    def _run(self) -> None:
        try:
            try:
                self._trip(0)
            finally:
                self._warm.release()
            self._start.wait()
            while (number := self._number()) is not None:
                began = time.perf_counter()
                self._trip(number)
                self.took.append(time.perf_counter() - began)
        except BaseException as exc:
            self.errors.append(exc)

    def go(self) -> None:
        """Make all trips."""
        self._start.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


async def measure(traveller: Traveller, load: Scenario, control: Control) -> Figures:
    """Make the trips of the load once, connections and caches warm.

    Raises:
        RuntimeError: not every trip came to its end.
    """
    threads = None
    if traveller.trip is not None:
        await _loops(traveller.trip, 1, min(_WARM, load.count // 4))
        await _loops(traveller.trip, _WARM, _WARM)
    else:
        assert traveller.blocking is not None
        threads = _Threads(traveller.blocking, load.waiters, iter(range(load.count)))
    gc.collect()
    server, cpu, began = control.cpu(), time.process_time(), time.perf_counter()
    if threads is None:
        assert traveller.trip is not None
        took = await _loops(traveller.trip, load.waiters, load.count)
    else:
        # Blocks the loop, which has nothing to do.
        threads.go()
        took = threads.took
    ended = time.perf_counter()
    spent = time.process_time() - cpu
    spent_there = control.cpu() - server
    if len(took) != load.count:
        raise RuntimeError(f"{len(took)} of {load.count} trips")
    return Figures(
        cpu=spent / load.count,
        rate=load.count / (ended - began),
        p50=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        server=spent_there / load.count,
    )
