"""Many sends in one call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery.result import AsyncResult
from kombu.exceptions import EncodeError

from celery_async_bridge.plan.bulk import Bulk

if TYPE_CHECKING:
    from tests.unit.plan.conftest import Desk


async def test_a_list_of_results_in_order(desk: Desk) -> None:
    results = await desk.add.amap_delay([(n,) for n in range(1200)])
    assert [one.id for one in results] == [
        one["headers"]["id"] for one in sorted(desk.sent(), key=_first)
    ]
    assert all(type(one) is desk.app.AsyncResult for one in results)


def _first(message: dict[str, Any]) -> int:
    return int(message["headers"]["argsrepr"].strip("(),"))


async def test_an_async_source_and_options(desk: Desk) -> None:
    async def source() -> AsyncIterator[Any]:
        for number in range(5):
            await asyncio.sleep(0)
            yield {"x": number, "y": "kw"}

    found = [one async for one in desk.add.amap_delay(source(), shadow="bulk")]
    assert len(found) == 5
    sent = desk.sent()
    assert {one["headers"]["shadow"] for one in sent} == {"bulk"}
    texts = {one["headers"]["kwargsrepr"] for one in sent}
    assert "{'x': 0, 'y': 'kw'}" in texts


async def test_errors_stay_with_their_items(desk: Desk) -> None:
    items = [(1,), (), "text", (object(),), [2, 3]]
    found = await desk.add.amap_delay(items)
    assert [type(one) for one in found[1:4]] == [TypeError, TypeError, EncodeError]
    assert isinstance(found[0], AsyncResult)
    assert isinstance(found[4], AsyncResult)
    assert len(desk.raw()) == 2


class _Counter:
    """Sends nothing, and counts what is under way."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.open = asyncio.Event()

    async def send(self, args: Any, kwargs: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.open.wait()
            self.done += 1
        finally:
            self.now -= 1
        return args[0]


async def test_the_window_bounds_what_is_under_way() -> None:
    counter = _Counter()
    taken = 0

    def source() -> Iterator[Any]:
        nonlocal taken
        for taken in itertools.count(1):
            yield (taken,)

    stream = aiter_of(Bulk(source(), counter.send, 7))
    first = asyncio.ensure_future(anext_of(stream))
    await asyncio.sleep(0.01)
    assert (counter.most, taken) == (7, 7)
    counter.open.set()
    assert await first == 1
    for expected in range(2, 50):
        assert await anext_of(stream) == expected
    assert taken < 70
    assert counter.most <= 7
    await stream.aclose()
    assert counter.now == 0


def aiter_of(bulk: Bulk) -> Any:
    return bulk.__aiter__()


async def anext_of(stream: Any) -> Any:
    return await stream.__anext__()


async def test_a_cancelled_call_ends_what_is_under_way() -> None:
    counter = _Counter()

    async def run() -> Any:
        return await Bulk([(n,) for n in range(50)], counter.send, 5)

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0.01)
    assert counter.now == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (counter.now, counter.done) == (0, 0)


async def test_nothing_to_send() -> None:
    assert await Bulk([], _Counter().send) == []


def test_a_window_has_room() -> None:
    with pytest.raises(ValueError, match="room"):
        Bulk([], _Counter().send, 0)
