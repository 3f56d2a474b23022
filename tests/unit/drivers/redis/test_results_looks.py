"""Looking up what was not heard: the order, the safety net, who is polled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from celery.backends.redis import RedisBackend
from celery.utils import uuid

from celery_async_bridge.drivers.redis import results as module
from celery_async_bridge.drivers.redis.ear import ears
from celery_async_bridge.drivers.redis.own_ways import is_published
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    NEVER,
    Bench,
    MakeApp,
    Watcher,
    channel_of,
    is_idle,
    listens,
    store,
    waits,
    write_silently,
)

if TYPE_CHECKING:
    from celery import Celery

pytestmark = ignore_unclosed


@pytest.mark.usefixtures("pushed_only")
async def test_listens_then_is_subscribed_then_looks(
    app: Celery, watcher: Watcher
) -> None:
    seen = []

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        (task_id,) = ids
        channel = channel_of(app, task_id)
        seen.append((await watcher.ask("PUBSUB", "NUMSUB", channel))[1])
        # As if it had been read just before somebody wrote it.
        await store(app, task_id, "later than the look")
        return {}

    for _ in range(2):
        bench, task_id = Bench(app.backend, fetch), uuid()
        watch = bench.watch(task_id)
        assert (await watch.next())[1]["result"] == "later than the look"
        bench.feed.leave(watch)
    assert seen == [1, 1]
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_stored_at_any_moment_it_is_found(app: Celery) -> None:
    async def race(turns: int) -> None:
        task_id = uuid()

        async def write() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await store(app, task_id, turns)

        wait = waits(app, task_id)
        await asyncio.gather(write(), wait)
        assert wait.result() == turns

    for turns in range(60):  # alone
        await race(turns)
    await asyncio.gather(*(race(turns % 60) for turns in range(300)))
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_an_old_look_does_not_take_back_what_was_heard(
    app: Celery, watcher: Watcher
) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        (task_id,) = ids
        await store(app, task_id, 2, "PROGRESS")
        await until(watch._arrived.__len__)
        return {task_id: {"status": "PROGRESS", "result": 1}}

    bench = Bench(app.backend, fetch)
    watch = bench.watch(uuid(), every=True)
    assert (await watch.next())[1]["result"] == 2
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(watch.next(), 0.1)
    bench.feed.leave(watch)


async def test_what_is_not_published_is_found_though_others_come_all_the_time(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAFETY", 0.2)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.05)
    await write_silently(app, watcher, task_id)
    others = []
    for _ in range(500):
        others.append(waits(app, uuid()))
        await asyncio.sleep(0.01)
        if wait.done():
            break
    assert await asyncio.wait_for(wait, 0) == "found"
    for other in others:
        other.cancel()
    await asyncio.wait(others)
    await is_idle()


async def test_without_an_ack_in_time_it_looks_soon_again(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAFETY", NEVER)
    monkeypatch.setattr(module, "ACK", 0)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.1)
    await write_silently(app, watcher, task_id)
    assert await wait == "found"


async def test_a_look_that_goes_wrong_is_told_and_the_next_wait_works(
    app: Celery,
) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {} for id_ in ids}  # no meta at all

    bench = Bench(app.backend, fetch)
    for _ in range(2):
        watches = [bench.watch(uuid(), uuid()) for _ in range(2)]
        for watch in watches:
            with pytest.raises(KeyError):
                await watch.next()
        for watch in watches:
            bench.feed.leave(watch)
        await is_idle()


async def test_a_failing_look_is_repeated_while_the_subscription_holds(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLING", 0.01)
    looks = 0

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        raise OSError(looks)

    bench = Bench(app.backend, fetch)
    watch = bench.watch(uuid())
    with pytest.raises(OSError, match=str(module.FAILURES)):
        await watch.next()
    bench.feed.leave(watch)
    await is_idle()


class Silent(RedisBackend):
    """Does not publish what it stores."""

    def _set(self, key: Any, value: Any, *args: Any) -> None:
        self.client.setex(key, 60, value)


def test_who_publishes(make_app: MakeApp) -> None:
    app = make_app()
    assert is_published(app.backend)
    assert not is_published(Silent(app=app, url=app.conf.result_backend))
    assert not is_published(make_app(result_backend="cache+memory://").backend)


async def test_who_does_not_publish_is_polled(make_app: MakeApp) -> None:
    app = make_app()
    backend: Any = Silent(app=app, url=app.conf.result_backend)
    result: Any = app.AsyncResult(uuid(), backend=backend)
    wait = asyncio.ensure_future(result.aget(timeout=30))
    await asyncio.sleep(0.05)
    assert ears() == []
    await backend.astore_result(result.id, 1, "SUCCESS")
    assert await wait == 1
    backend.client.close()
