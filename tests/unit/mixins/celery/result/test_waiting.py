"""What a wait costs and what it leaves behind: threads, tasks, waiters."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import VERSION
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from celery_async_bridge.core.lane import lanes
from celery_async_bridge.mixins.celery._poller import _pollers
from tests.unit.core.help import until
from tests.unit.mixins.celery._results import QUIET, STORES, aoutcome, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from tests.unit.mixins.celery._results import Writer

pytestmark = QUIET

# What is polled: memory has a driver, which is woken; Redis pushes.
POLLED = [store for store in STORES if store not in {"memory", "redis"}]


def bridge_threads() -> set[threading.Thread]:
    """The threads of all lanes."""
    return {
        one for one in threading.enumerate() if one.name.startswith("celery-async-")
    }


def pollers() -> int:
    """How many pollers the live loops have."""
    return sum(len(found) for found in _pollers.peek())


async def test_a_thousand_cancelled_waits_leave_nothing(
    app: Celery, writer: Writer
) -> None:
    dice = random.Random(7)
    before = bridge_threads()
    kept: list[Any] = [app.AsyncResult(uuid()) for _ in range(5)]
    patient = [asyncio.ensure_future(one.aget(timeout=90)) for one in kept]

    async def impatient() -> None:
        result: Any = app.AsyncResult(uuid())
        task = asyncio.ensure_future(result.aget(timeout=30))
        await asyncio.sleep(dice.random() * 0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    for _ in range(10):
        await asyncio.gather(*(impatient() for _ in range(100)))
    for place, one in enumerate(kept):
        writer.later(one.id, place, delay=0)
    assert await asyncio.gather(*patient) == [0, 1, 2, 3, 4]
    await until(lambda: len(asyncio.all_tasks()) == 1 and pollers() == 0)
    # One that looks, and those that read the five results.
    assert len(bridge_threads() - before) <= 1 + 5
    assert all(lane.stuck == 0 for lane in lanes().values())
    later: Any = app.AsyncResult(uuid())
    writer.later(later.id, "still works", delay=0.05)
    assert await later.aget(timeout=30) == "still works"


@pytest.mark.parametrize("store", POLLED)
async def test_waiters_share_one_thread_and_leave_the_others_free(
    store: str, make_app: Callable[..., Celery]
) -> None:
    app = make_app(store, async_threads=2)
    before = bridge_threads()
    results: list[Any] = [app.AsyncResult(uuid()) for _ in range(40)]
    waits = [asyncio.ensure_future(one.aget(timeout=60)) for one in results]
    await until(lambda: pollers() == 1)
    await asyncio.sleep(0.2)
    assert pollers() == 1
    assert len(bridge_threads() - before) <= 1
    other: Any = app.AsyncResult(uuid())
    # Behind the forty it would wait for a minute.
    await other.backend.astore_result(other.id, 1, "SUCCESS")
    assert await other.aget(timeout=30) == 1
    assert not any(wait.done() for wait in waits)
    for one in results:
        await one.backend.astore_result(one.id, one.id, "SUCCESS")
    assert await asyncio.gather(*waits) == [one.id for one in results]
    assert len(bridge_threads() - before) <= 3
    assert pollers() == 0


@pytest.fixture
def black_hole() -> Iterator[str]:
    """URL of a Redis that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


async def test_a_timeout_holds_when_the_backend_is_silent(
    black_hole: str, make_app: Callable[..., Celery]
) -> None:
    app = make_app(black_hole)
    before = bridge_threads()
    results: list[Any] = [app.AsyncResult(uuid()) for _ in range(40)]
    started = time.monotonic()
    waits = (aoutcome(one.aget(timeout=1.5)) for one in results)
    found = await asyncio.gather(*waits)
    # One after the other they would take a minute.
    assert 1.49 < time.monotonic() - started < 30
    assert {kind for _, (kind, _) in found} == {CeleryTimeoutError}
    assert len(bridge_threads() - before) <= 1
    assert pollers() == 0


async def test_without_a_timeout_the_deadline_of_the_app_counts(
    black_hole: str, make_app: Callable[..., Celery]
) -> None:
    app = make_app(black_hole, async_publish_timeout=0.5)
    result: Any = app.AsyncResult(uuid())
    with pytest.raises(CeleryTimeoutError, match="no answer from redis"):
        await result.aget()


async def test_a_refusing_backend_raises_what_get_raises(
    make_app: Callable[..., Celery],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    policy = {"max_retries": 1, "interval_step": 0.1, "interval_max": 0.1}
    app = make_app(
        f"redis://127.0.0.1:{port}/0",
        result_backend_transport_options={"retry_policy": policy},
    )
    theirs = outcome(lambda: app.AsyncResult(uuid()).get(timeout=30))
    result: Any = app.AsyncResult(uuid())
    ours = await asyncio.gather(*(aoutcome(result.aget(timeout=30)) for _ in range(3)))
    if VERSION >= (5, 6):  # 5.5 gives up otherwise, by when it lost the connection
        assert ours == [theirs] * 3
    assert all(kind == "error" for kind, _ in ours)
    read = await aoutcome(result.astate())
    assert read == outcome(lambda: app.AsyncResult(result.id).state)


def test_many_loops_in_many_threads(make_app: Callable[..., Celery]) -> None:
    app = make_app("redis")
    failures: list[BaseException] = []

    async def main() -> None:
        result: Any = app.AsyncResult(uuid())
        wait = asyncio.ensure_future(result.aget(timeout=30))
        await asyncio.sleep(0.02)
        await result.backend.astore_result(result.id, 1, "SUCCESS")
        assert await wait == 1

    def work() -> None:
        try:
            for _ in range(5):
                asyncio.run(main())
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert pollers() == 0


async def test_a_backend_with_a_wait_of_its_own_keeps_it(
    make_app: Callable[..., Celery],
) -> None:
    from celery.backends.cache import CacheBackend

    class Own(CacheBackend):
        def wait_for(self, task_id: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return {"status": "SUCCESS", "result": "own", "task_id": task_id}

    app = make_app("memory")
    result: Any = app.AsyncResult(uuid(), backend=Own(app, url="memory://"))
    assert await result.aget(timeout=1) == result.get(timeout=1) == "own"
