"""Looks on the subscription's socket: for a few, and never instead of an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from celery.backends.redis import RedisBackend
from celery.utils import uuid

from celery_async_bridge.drivers.redis import results as module
from celery_async_bridge.drivers.redis.ear import Ear, ears
from celery_async_bridge.drivers.redis.own_ways import is_read_plainly
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    Bench,
    MakeApp,
    Watcher,
    is_idle,
    listens,
    store,
    waits,
)

if TYPE_CHECKING:
    from celery import Celery

pytestmark = [ignore_unclosed, pytest.mark.usefixtures("pushed_only")]


async def is_pushed_to(app: Celery) -> None:
    """Have a connection of which it is known that it pushes."""
    task_id = uuid()
    await store(app, task_id, 0)
    assert await waits(app, task_id) == 0


async def never(ids: set[str], every: set[str]) -> dict[str, Any]:
    """Take the place of a look that must not be."""
    raise AssertionError(f"looked at {len(ids)}")


async def test_a_few_need_no_other_look(app: Celery, watcher: Watcher) -> None:
    await is_pushed_to(app)
    bench = Bench(app.backend, never, decodes=True)
    early, late = uuid(), uuid()
    await store(app, early, 1)
    watch = bench.watch(early, late, every=True)
    found = {id_: meta["status"] for id_, meta in [await watch.next() for _ in "12"]}
    assert found == {early: "SUCCESS", late: "PENDING"}
    await store(app, late, 2, "PROGRESS")
    assert (await watch.next())[1]["status"] == "PROGRESS"
    await store(app, late, 3)
    assert (await watch.next())[1]["result"] == 3
    bench.feed.leave(watch)
    assert [ear.opened for ear in ears()] == [1]
    await is_idle()


async def test_many_are_looked_up_in_portions(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    await is_pushed_to(app)
    sizes: list[int] = []
    look = Ear.look

    def noted(self: Ear, keys: list[bytes], answer: Any) -> bool:
        sizes.append(len(keys))
        return look(self, keys, answer)

    monkeypatch.setattr(Ear, "look", noted)
    bench, ids = Bench(app.backend, never, decodes=True), [uuid() for _ in range(25)]
    for number, id_ in enumerate(ids[:20]):
        await store(app, id_, number)
    # Its time is not up before all have been looked at.
    watch = bench.watch(*ids, timeout=0)
    found = [await watch.next() for _ in range(20)]
    assert {id_: meta["result"] for id_, meta in found} == {
        id_: number for number, id_ in enumerate(ids[:20])
    }
    with pytest.raises(TimeoutError):
        await watch.next()
    assert sizes == [10, 10, 5]
    bench.feed.leave(watch)
    await is_idle()


async def test_a_look_that_is_refused_is_not_made_again_there(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    await is_pushed_to(app)
    looks = 0

    def refused(self: Ear, keys: list[bytes], answer: Any) -> bool:
        nonlocal looks
        looks += 1
        asyncio.get_running_loop().call_soon(answer, None)
        return True

    monkeypatch.setattr(Ear, "look", refused)

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {"status": "SUCCESS", "result": 1} for id_ in ids}

    bench = Bench(app.backend, fetch, decodes=True)
    watch = bench.watch(*(uuid() for _ in range(25)))
    assert [(await watch.next())[1]["result"] for _ in range(25)] == [1] * 25
    assert looks == 1
    bench.feed.leave(watch)
    await is_idle()


async def test_with_resp2_upstreams_code_looks(make_app: MakeApp) -> None:
    app = make_app("?protocol=2")
    await is_pushed_to(app)

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {"status": "SUCCESS", "result": "fetched"} for id_ in ids}

    bench = Bench(app.backend, fetch, decodes=True)
    watch = bench.watch(uuid())
    assert (await watch.next())[1]["result"] == "fetched"
    bench.feed.leave(watch)
    await is_idle()


async def test_what_cannot_be_decoded_concerns_its_task_alone(
    app: Celery, watcher: Watcher
) -> None:
    await is_pushed_to(app)
    backend: Any = app.backend
    broken, sound = uuid(), uuid()
    await watcher.ask("SET", backend.get_key_for_task(broken), "no json", "EX", 60)
    await store(app, sound, 1)
    tasks = [waits(app, one) for one in (broken, sound)]
    await asyncio.wait(tasks)
    assert tasks[0].exception() is not None
    assert tasks[1].result() == 1
    await is_idle()


async def test_no_answer_in_time_is_looked_up_elsewhere_and_comes_too_late(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await is_pushed_to(app)
    monkeypatch.setattr(module, "ACK", 0.05)
    held: list[Any] = []

    def look(self: Ear, keys: list[bytes], answer: Any) -> bool:
        held.append((keys, answer))
        return True

    monkeypatch.setattr(Ear, "look", look)
    looked: list[set[str]] = []

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        looked.append(ids)
        return {id_: {"status": "PROGRESS", "result": 2} for id_ in ids}

    bench, task_id = Bench(app.backend, fetch, decodes=True), uuid()
    watch = bench.watch(task_id, every=True)
    assert (await watch.next())[1]["result"] == 2
    assert looked == [{task_id}]
    ((keys, answer),) = held
    assert len(keys) == 1
    backend: Any = app.backend
    answer([backend.encode({"status": "PROGRESS", "result": 1, "task_id": task_id})])
    await store(app, task_id, 3)
    assert (await watch.next())[1]["result"] == 3
    bench.feed.leave(watch)
    await is_idle()


async def test_a_look_that_is_lost_is_made_again(app: Celery, watcher: Watcher) -> None:
    await is_pushed_to(app)
    tasks = []
    for number in range(20):
        early, late = uuid(), uuid()
        await store(app, early, number)
        tasks += [waits(app, early), waits(app, late)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ears()[0].abort()  # with the look on its way
        await store(app, late, number)
    assert await asyncio.gather(*tasks) == [n // 2 for n in range(40)]
    assert ears()[0].opened > 1
    await is_idle()


async def test_who_joins_later_has_a_look_of_its_own(
    app: Celery, watcher: Watcher
) -> None:
    await is_pushed_to(app)
    task_id = uuid()
    tasks = [waits(app, task_id) for _ in range(3)]
    await listens(watcher, app, task_id)
    for _ in range(20):
        tasks.append(waits(app, task_id))
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    await store(app, task_id, 1)
    tasks += [waits(app, task_id) for _ in range(3)]
    assert await asyncio.gather(*tasks) == [1] * len(tasks)
    await is_idle()


class Reading(RedisBackend):
    """Reads in a way of its own."""

    def mget(self, keys: Any) -> Any:
        return [None for _ in keys]


async def test_whose_reads_are_not_upstreams_is_left_to_them(
    app: Celery, watcher: Watcher
) -> None:
    backend = Reading(app=app, url=app.conf.result_backend)
    assert not is_read_plainly(backend)
    assert is_read_plainly(app.backend)

    await is_pushed_to(app)
    looked: list[set[str]] = []

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        looked.append(ids)
        return {}

    bench = Bench(backend, fetch, decodes=True)
    watch = bench.watch(uuid())
    await until(lambda: looked)
    bench.feed.leave(watch)
    backend.client.close()
    await is_idle()
