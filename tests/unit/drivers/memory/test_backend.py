# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult, GroupResult

from celery_async_bridge.core.conversation import Conversation
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.drivers.memory.backend import wait
from celery_async_bridge.drivers.memory.notify import BOARD
from tests.unit._memory import memory_app


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


def later(call: Any, *args: Any, seconds: float = 0.05) -> None:
    threading.Timer(seconds, call, args).start()


async def test_a_stored_result_wakes_the_waiter(app: Any, unique: str) -> None:
    later(app.backend.store_result, unique, 7, "SUCCESS")
    # Unless it is woken, it waits for a minute.
    meta = await asyncio.wait_for(wait(app.backend, unique, 60), 30)
    assert meta["result"] == 7


async def test_a_result_that_is_there_is_returned_at_once(
    app: Any, unique: str
) -> None:
    app.backend.store_result(unique, 7, "SUCCESS")
    assert (await wait(app.backend, unique, 0))["status"] == "SUCCESS"


async def test_only_ready_states_end_the_wait(app: Any, unique: str) -> None:
    waiting = asyncio.ensure_future(wait(app.backend, unique, 60))
    for state in ("STARTED", "RETRY", "PROGRESS"):
        await asyncio.sleep(0)
        app.backend.store_result(unique, {}, state)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    app.backend.store_result(unique, ValueError("no"), "FAILURE")
    assert (await waiting)["status"] == "FAILURE"


async def test_no_waiter_is_left_behind(app: Any, unique: str) -> None:
    with pytest.raises(TimeoutError):
        await wait(app.backend, unique, 0.01)
    waits = [
        asyncio.ensure_future(wait(app.backend, f"{unique}{i}", None))
        for i in range(1000)
    ]
    await asyncio.sleep(0)
    assert len(BOARD) == 1000
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert len(BOARD) == 0


async def test_a_result_that_the_store_has_dropped_still_arrives(
    app: Any, unique: str
) -> None:
    waiting = asyncio.ensure_future(wait(app.backend, unique, 60))
    await asyncio.sleep(0)
    app.backend.store_result(unique, 7, "SUCCESS")
    app.backend.delete(app.backend.get_key_for_task(unique))
    assert (await waiting)["result"] == 7


async def test_sync_get_in_a_trampoline_does_not_poll(app: Any, unique: str) -> None:
    later(app.backend.store_result, unique, 7, "SUCCESS")
    start = time.perf_counter()
    get: Any = partial(AsyncResult(unique, app=app).get, timeout=60, interval=40)
    assert await spawn(get) == 7
    assert time.perf_counter() - start < 20


async def test_sync_get_in_a_trampoline_times_out_as_upstream(
    app: Any, unique: str
) -> None:
    with pytest.raises(CeleryTimeoutError):
        await spawn(partial(AsyncResult(unique, app=app).get, timeout=0.02))
    assert len(BOARD) == 0


async def test_on_interval_is_called(app: Any, unique: str) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 4:
            later(app.backend.store_result, unique, 7, "SUCCESS")

    get: Any = partial(
        app.backend.wait_for, unique, timeout=60, interval=0.02, on_interval=tick
    )
    assert (await spawn(get))["result"] == 7
    assert len(ticks) >= 4


async def test_a_join_in_a_trampoline_ends_with_the_last_result(
    app: Any, unique: str
) -> None:
    ids = [f"{unique}.{i}" for i in range(5)]
    for place, id_ in enumerate(ids):
        later(app.backend.store_result, id_, place, "SUCCESS", seconds=0.01 * place)
    group = GroupResult(unique, [AsyncResult(id_, app=app) for id_ in ids])
    start = time.perf_counter()
    join: Any = partial(group.join_native, timeout=60, interval=40)
    assert await spawn(join) == list(range(5))
    assert time.perf_counter() - start < 20
    assert len(BOARD) == 0


async def test_a_join_in_a_trampoline_times_out_as_upstream(
    app: Any, unique: str
) -> None:
    group = GroupResult(unique, [AsyncResult(unique, app=app)])
    with pytest.raises(CeleryTimeoutError):
        await spawn(partial(group.join_native, timeout=0.02))


def test_get_in_a_conversation_wakes_at_once(app: Any, unique: str) -> None:
    later(app.backend.store_result, unique, 7, "SUCCESS")
    start = time.perf_counter()
    with Conversation().entered():
        assert AsyncResult(unique, app=app).get(timeout=60, interval=40) == 7
    assert time.perf_counter() - start < 20


def test_get_in_a_plain_thread_is_upstreams(app: Any, unique: str) -> None:
    later(app.backend.store_result, unique, 7, "SUCCESS", seconds=0.01)
    assert AsyncResult(unique, app=app).get(timeout=30, interval=0.02) == 7
