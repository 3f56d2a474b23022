"""Waiting for pushed results: what ends a wait, what is seen, who gets it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery.utils import uuid

from celery_async_bridge.drivers.redis.ear import ears
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until
from tests.unit.drivers.redis.help import (
    MakeApp,
    Watcher,
    channel_of,
    feeds,
    is_idle,
    listens,
    store,
    waits,
)

if TYPE_CHECKING:
    from celery import Celery

pytestmark = ignore_unclosed


@pytest.mark.usefixtures("pushed_only")
@pytest.mark.parametrize(
    "query",
    ["", "?protocol=2", "?protocol=3", "?decode_responses=true"],
)
async def test_a_result_is_pushed(
    query: str, make_app: MakeApp, watcher: Watcher
) -> None:
    app = make_app(query)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.02)
    await store(app, task_id, {"a": [1, "ä"]})
    assert await wait == {"a": [1, "ä"]}
    await listens(watcher, app, task_id, 0)
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_a_compressed_and_extended_result_is_pushed(
    make_app: MakeApp, watcher: Watcher
) -> None:
    app = make_app(result_extended=True, result_compression="gzip")
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await store(app, task_id, "x" * 10_000)
    assert await wait == "x" * 10_000


@pytest.mark.usefixtures("pushed_only")
async def test_ten_megabytes(app: Celery, watcher: Watcher) -> None:
    early, late, value = uuid(), uuid(), "x" * 10_000_000
    await store(app, early, value)
    wait = waits(app, late)
    await listens(watcher, app, late)
    await store(app, late, value)
    assert await wait == await waits(app, early) == value
    assert [ear.opened for ear in ears()] == [1]


async def test_only_ready_states_end_a_wait(app: Celery, watcher: Watcher) -> None:
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    for state in ("STARTED", "PROGRESS"):
        await store(app, task_id, {"done": state}, state)
    await store(app, task_id, ValueError("again"), "RETRY")
    await asyncio.sleep(0.05)
    assert not wait.done()
    late = waits(app, task_id)
    await asyncio.sleep(0.05)
    assert not late.done()
    await store(app, task_id, 1)
    assert (await wait, await late) == (1, 1)


@pytest.mark.usefixtures("pushed_only")
async def test_states_are_seen_one_by_one(app: Celery, watcher: Watcher) -> None:
    result: Any = app.AsyncResult(uuid())
    found = []

    async def see() -> None:
        async for state, meta in result.astates(timeout=20):
            found.append((state, meta["result"]))

    seeing = asyncio.ensure_future(see())
    await listens(watcher, app, result.id)
    await until(lambda: found)
    steps: list[tuple[str, Any]] = [("STARTED", {"pid": 1})]
    steps += [("PROGRESS", n) for n in range(20)]
    steps += [("SUCCESS", "end")]
    for state, value in steps:
        await store(app, result.id, value, state)
    await seeing
    assert found == [("PENDING", None), *steps]
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_a_failure_raises_what_the_task_raised(
    app: Celery, watcher: Watcher
) -> None:
    early, late = uuid(), uuid()
    await store(app, early, LookupError("x", 1), "FAILURE")
    wait = waits(app, late)
    await listens(watcher, app, late)
    await store(app, late, LookupError("x", 1), "FAILURE")
    for one in (wait, waits(app, early)):
        with pytest.raises(LookupError) as caught:
            await one
        assert type(caught.value) is LookupError
        assert caught.value.args == ("x", 1)


@pytest.mark.usefixtures("pushed_only")
@pytest.mark.parametrize("payload", ["no json", "1", "[]", "{}", '{"status": 7}'])
async def test_what_no_backend_has_published(
    payload: str, app: Celery, watcher: Watcher, quiet: list[dict[str, Any]]
) -> None:
    task_id, other = uuid(), uuid()
    wait, neighbour = waits(app, task_id), waits(app, other)
    await listens(watcher, app, task_id)
    await listens(watcher, app, other)
    await watcher.ask("PUBLISH", channel_of(app, task_id), payload)
    await store(app, other, 1)
    assert await neighbour == 1
    # An error, or no ready state: as a sync wait takes it.
    await store(app, task_id, 2)
    with suppress(Exception):
        assert await wait == 2
    assert [ear.opened for ear in ears()] == [1]
    assert quiet == []
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_everybody_gets_it_and_the_last_one_leaves(
    make_app: MakeApp, watcher: Watcher
) -> None:
    # Two apps: two feeds on one connection.
    apps, task_id = [make_app(), make_app()], uuid()
    tasks = [waits(app, task_id) for app in apps for _ in range(5)]
    await listens(watcher, apps[0], task_id)
    for task in tasks[:4]:
        task.cancel()
    await asyncio.wait(tasks[:4])
    assert len(ears()) == 1
    assert feeds() == 2
    await listens(watcher, apps[0], task_id)
    await store(apps[0], task_id, 1)
    assert await asyncio.gather(*tasks[4:]) == [1] * 6
    await listens(watcher, apps[0], task_id, 0)
    await is_idle()
