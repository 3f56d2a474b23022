"""A send does not subscribe; a wait in a thread finds its result all the same."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import group
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult, ResultSet
from kombu.utils.uuid import uuid

from tests.integration.apps import an_app
from tests.unit.drivers.redis.help import Watcher, call


@pytest.fixture
def app(redis_url: str, unique: str) -> Iterator[Any]:
    with an_app(redis_url, redis_url, unique, result_expires=60) as found:
        yield found
        found.backend.result_consumer.stop()
        found.backend.client.connection_pool.disconnect()


class Worker:
    """Stores results as a worker would, from a thread of its own."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._threads: list[threading.Thread] = []

    def stores(self, *results: Any, delay: float = 0.0) -> None:
        def run() -> None:
            time.sleep(delay)
            for number, result in enumerate(results):
                self._app.backend.store_result(result.id, number, "SUCCESS")
            self._app.backend.client.connection_pool.disconnect()

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    async def done(self) -> None:
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 10)


@pytest.fixture
def worker(app: Any) -> Worker:
    return Worker(app)


async def subscribers(app: Any, watcher: Watcher, *results: Any) -> list[int]:
    keys = [app.backend.get_key_for_task(result.id) for result in results]
    found = await asyncio.to_thread(watcher.client.pubsub_numsub, *keys)
    return [count for _, count in found]


def left(consumer: Any) -> list[Any]:
    """What is still to be unsubscribed: by upstream, or before Celery 5.7 by us."""
    found = getattr(consumer, "_pending_unsubscribe", None)
    return list(vars(consumer).get("_bridge_left", ()) if found is None else found)


async def test_a_send_does_not_subscribe(app: Any, watcher: Watcher) -> None:
    results = [await app.add.adelay(1, number) for number in range(5)]
    canvas = await group(app.add.s(1, n) for n in range(3)).aapply_async()
    assert await subscribers(app, watcher, *results, *canvas) == [0] * 8
    consumer = app.backend.result_consumer
    assert consumer._pubsub is None
    assert consumer.subscribed_to == set()


async def test_nor_do_the_trampolines_of_an_override(
    app: Any, watcher: Watcher
) -> None:
    result = await call(lambda: app.add.apply_async((1, 2)))
    assert await subscribers(app, watcher, result) == [0]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_thread_gets_the_result(app: Any, worker: Worker, when: str) -> None:
    first, second = [await app.add.adelay(1, n) for n in range(2)]
    worker.stores(first, second, delay=0.0 if when == "before" else 0.2)
    if when == "before":
        await worker.done()
    assert await asyncio.to_thread(first.get, timeout=10) == 0
    assert await asyncio.to_thread(second.get, timeout=10) == 1
    await worker.done()


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
def test_a_group_is_joined_after_the_loop(app: Any, worker: Worker, when: str) -> None:
    # By the thread that sent it: upstream's backends belong to threads.
    async def send() -> Any:
        return await group(app.add.s(1, n) for n in range(4)).aapply_async()

    result = asyncio.run(send())
    children = list(result)
    if when == "before":
        worker.stores(*children)
        asyncio.run(worker.done())
    elif when == "after":
        worker.stores(*children, delay=0.2)
    else:
        worker.stores(children[0])
        asyncio.run(worker.done())
        worker.stores(*children, delay=0.2)
    assert result.join_native(timeout=10) == [0, 1, 2, 3]
    asyncio.run(worker.done())
    assert not vars(app.backend.result_consumer).get("_bridge_noted")


async def test_some_wait_while_others_are_sent(app: Any, worker: Worker) -> None:
    first = await app.add.adelay(1, 1)
    waiting = asyncio.ensure_future(asyncio.to_thread(first.get, timeout=10))
    await asyncio.sleep(0.1)
    others = await asyncio.gather(*(app.add.adelay(1, n) for n in range(20)))
    worker.stores(first, *others)
    assert await waiting == 0
    for number, other in enumerate(others, 1):
        assert await asyncio.to_thread(other.get, timeout=10) == number
    await worker.done()


def test_a_set_of_results_is_made_without_io(
    app: Any, watcher: Watcher, worker: Worker
) -> None:
    results: list[Any] = [AsyncResult(uuid(), app=app) for _ in range(3)]
    seen: list[Any] = []

    async def make() -> Any:
        found: Any = ResultSet(results, app=app)
        found.then(seen.append)
        assert await subscribers(app, watcher, *results) == [0] * 3
        return found

    found = asyncio.run(make())
    worker.stores(*results, delay=0.2)
    assert found.join_native(timeout=10) == [0, 1, 2]
    assert seen == [found]
    asyncio.run(worker.done())


async def test_a_forgotten_result_does_no_io_and_leaves_nothing(
    app: Any, watcher: Watcher
) -> None:
    consumer = app.backend.result_consumer
    for _ in range(20):
        result = await app.add.adelay(1, 1)
        del result
    result = AsyncResult(uuid(), app=app)
    app.backend.add_pending_result(result, weak=True)
    assert list(vars(consumer)["_bridge_noted"]) == [result.id]
    del result
    gc.collect()
    assert left(consumer) == []
    assert not vars(consumer)["_bridge_noted"]
    assert consumer._pubsub is None


async def test_a_wait_that_was_given_up(app: Any, worker: Worker) -> None:
    result = await app.add.adelay(1, 1)
    with pytest.raises(CeleryTimeoutError):
        await asyncio.to_thread(result.get, timeout=0.1)
    worker.stores(result, delay=0.2)
    assert await asyncio.to_thread(result.get, timeout=10) == 0
    await worker.done()


async def test_a_result_forgotten_on_the_loop_after_a_subscription(
    app: Any, worker: Worker, watcher: Watcher
) -> None:
    result: Any = AsyncResult(uuid(), app=app)
    await asyncio.to_thread(app.backend.add_pending_result, result, True)
    assert await subscribers(app, watcher, result) == [1]
    gone = result.id
    del result  # its subscription cannot be left here without I/O
    gc.collect()
    assert len(left(app.backend.result_consumer)) == 1
    other = await app.add.adelay(1, 2)
    worker.stores(other)
    assert await asyncio.to_thread(other.get, timeout=10) == 0
    await worker.done()
    # The next thread that waits has left it.
    key = app.backend.get_key_for_task(gone)
    (counted,) = await asyncio.to_thread(watcher.client.pubsub_numsub, key)
    assert counted[1] == 0
    consumer = app.backend.result_consumer
    assert left(consumer) == []
    assert consumer.subscribed_to == set()


def test_without_a_loop_everything_is_upstreams(
    app: Any, watcher: Watcher, worker: Worker
) -> None:
    result = app.add.delay(1, 1)
    key = app.backend.get_key_for_task(result.id)
    assert watcher.client.pubsub_numsub(key)[0][1] == 1
    worker.stores(result)
    assert result.get(timeout=10) == 0
    asyncio.run(worker.done())
