"""Run one load and count what it costs."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..record import quantile
from .scenario import WORKERS, Scenario

if TYPE_CHECKING:
    from ..control import Control

__all__ = ("Figures", "Sender", "measure")

_WARM = 50
_TICK = 0.001
_SETTLE = 0.05


@dataclass(frozen=True)
class Sender:
    """One way to send, open on the running loop.

    Attributes:
        send: sends message number i; None where only `many` is there.
        many: sends a whole sequence of numbers.
        count: how many messages have arrived; None where there is nothing to count.
    """

    send: Callable[[int], Awaitable[Any]] | None = None
    many: Callable[[Sequence[int]], Awaitable[Any]] | None = None
    count: Callable[[], Awaitable[int]] | None = None


@dataclass(frozen=True)
class Figures:
    """What one run of one load cost; times in seconds.

    Attributes:
        cpu: CPU of this process for each message, all threads together.
        rate: messages per second.
        p50: half of the sends took at most this long.
        p99: so did 99 % of them.
        gap: how late a ticker of 1 ms was at most.
        gap_p99: how late it was in 99 % of the cases.
        server: CPU of Redis for each message.
    """

    cpu: float
    rate: float
    p50: float | None
    p99: float | None
    gap: float
    gap_p99: float
    server: float

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)


async def _ticker(late: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(_TICK)
        now = time.perf_counter()
        late.append(max(0.0, now - last - _TICK))
        last = now


# The results are returned, so that the caller keeps them: dropping a result with a
# backend costs a command in some libraries, and users hold on to theirs.


async def _sequential(send: Callable[[int], Awaitable[Any]], count: int) -> Any:
    return [await send(number) for number in range(count)]


async def _workers(send: Callable[[int], Awaitable[Any]], count: int) -> Any:
    numbers = iter(range(count))

    async def work() -> list[Any]:
        return [await send(number) for number in numbers]

    return await asyncio.gather(*(work() for _ in range(WORKERS)))


async def _gather(send: Callable[[int], Awaitable[Any]], count: int) -> Any:
    return await asyncio.gather(*(send(number) for number in range(count)))


_SHAPES = {"sequential": _sequential, "workers": _workers, "gather": _gather}


def _timed(
    send: Callable[[int], Awaitable[Any]], took: list[float]
) -> Callable[[int], Awaitable[Any]]:
    async def timed(number: int) -> Any:
        began = time.perf_counter()
        sent = await send(number)
        took.append(time.perf_counter() - began)
        return sent

    return timed


async def _load(sender: Sender, load: Scenario, took: list[float]) -> Any:
    if sender.send is not None:
        return await _SHAPES[load.shape](_timed(sender.send, took), load.count)
    assert sender.many is not None
    return await sender.many(range(load.count))


async def _warm_up(sender: Sender) -> int:
    if sender.send is not None:
        await _sequential(sender.send, _WARM)
        await _gather(sender.send, _WARM)
        return 2 * _WARM
    assert sender.many is not None
    await sender.many(range(_WARM))
    return _WARM


async def measure(sender: Sender, load: Scenario, control: Control) -> Figures:
    """Send the load once, connections and caches warm.

    Raises:
        RuntimeError: not every message arrived.
    """
    warm = await _warm_up(sender)
    gc.collect()
    took: list[float] = []
    late: list[float] = []
    ticker = asyncio.ensure_future(_ticker(late))
    await asyncio.sleep(_SETTLE)
    late.clear()
    server, cpu, began = control.cpu(), time.process_time(), time.perf_counter()
    kept = await _load(sender, load, took)
    ended = time.perf_counter()
    spent = time.process_time() - cpu
    spent_there = control.cpu() - server
    # The tick that the load has delayed is still to come.
    await asyncio.sleep(2 * _TICK)
    ticker.cancel()
    if sender.count is not None and await sender.count() != warm + load.count:
        raise RuntimeError(f"{await sender.count()} of {warm + load.count} arrived")
    del kept
    return Figures(
        cpu=spent / load.count,
        rate=load.count / (ended - began),
        p50=quantile(took, 0.5) if took else None,
        p99=quantile(took, 0.99) if took else None,
        gap=max(late),
        gap_p99=quantile(late, 0.99),
        server=spent_there / load.count,
    )
