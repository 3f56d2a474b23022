"""Waits that end early, or whose loop, connection or app does: what is kept."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from celery_async_bridge.core.loops import aclose_loop
from celery_async_bridge.drivers.redis.ear import ears
from tests.redis_servers import eventually
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    Bench,
    MakeApp,
    Watcher,
    feeds,
    is_idle,
    listens,
    store,
    waits,
)

pytestmark = ignore_unclosed


@pytest.mark.parametrize("end", ["timeout", "cancel", "result"])
async def test_who_leaves_unsubscribes(end: str, app: Celery, watcher: Watcher) -> None:
    task_id = uuid()
    wait = waits(app, task_id, timeout=0.3 if end == "timeout" else 30)
    await listens(watcher, app, task_id)
    if end == "cancel":
        wait.cancel()
    elif end == "result":
        await store(app, task_id, 1)
    await asyncio.wait({wait})
    if end == "timeout":
        assert isinstance(wait.exception(), CeleryTimeoutError)
    await listens(watcher, app, task_id, 0)
    await is_idle()
    # And may come back.
    backend: Any = app.backend
    await backend.aforget(task_id)
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await store(app, task_id, 2)
    assert await wait == 2


async def test_a_cancelled_task_does_not_end_all_waits(app: Celery) -> None:
    # Who cancels everything on a loop cancels this, too.
    first = waits(app, uuid())
    await until(feeds)
    await asyncio.sleep(0.05)
    mine = {asyncio.current_task(), first}
    for task in asyncio.all_tasks() - mine:
        task.cancel()
    await asyncio.sleep(0.01)
    task_id = uuid()
    await store(app, task_id, 1)
    assert await waits(app, task_id) == 1
    first.cancel()
    await asyncio.wait({first})
    await is_idle()


async def test_what_is_no_id_is_refused_and_leaves_nothing(app: Celery) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {"status": "SUCCESS", "result": 1} for id_ in ids}

    for ids in ([""], [uuid(), ""], ["", *(uuid() for _ in range(9))]):
        bench = Bench(app.backend, fetch)
        with pytest.raises(ValueError, match="empty"):
            bench.watch(*ids)
        await is_idle()
    watch = bench.watch(uuid())
    with pytest.raises(ValueError, match="empty"):
        bench.watch(uuid(), "")
    assert (await watch.next())[1]["result"] == 1
    bench.feed.leave(watch)
    await is_idle()


async def test_closing_does_not_end_who_waits(app: Celery, watcher: Watcher) -> None:
    old, new = uuid(), uuid()
    first = waits(app, old)
    await listens(watcher, app, old)
    await aclose_loop()
    second = waits(app, new)
    await listens(watcher, app, new)
    await store(app, new, 1)
    await store(app, old, 2)
    assert await second == 1
    assert await first == 2
    await is_idle()


def test_a_loop_that_ends_leaves_nothing(app: Celery, watcher: Watcher) -> None:
    async def main() -> None:
        for _ in range(20):
            waits(app, uuid(), 60)
        await asyncio.sleep(0.05)

    for _ in range(3):
        asyncio.run(main())
        eventually(lambda: not watcher.now(), 5, what="nobody connected")
    assert feeds() == 0
    assert ears() == []


async def test_an_app_that_is_gone_is_not_kept(make_app: MakeApp, unique: str) -> None:
    conf = make_app().conf
    app = Celery(unique, broker="memory://", set_as_current=False)
    app.conf.update(
        result_backend=conf.result_backend,
        result_backend_transport_options=conf.result_backend_transport_options,
    )
    wait = waits(app, uuid())
    await until(feeds)
    wait.cancel()
    await asyncio.wait({wait})
    await is_idle()
    app.close()
    gone = weakref.ref(app)
    del app, wait
    # What ends a look may still be on its way through the loop.
    await until(lambda: gc.collect() >= 0 and gone() is None)
    assert len(ears()) == 1
