"""Many loops, many threads, forks, cancellations: no error, nothing piles up."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celery_async_bridge.core.lane import lanes
from tests.integration.apps import an_app, bridge_threads, queued, sockets
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

PAIRS = [
    ("redis", "redis"),
    ("amqp", "rpc"),
    ("memory", "cache+memory"),
]
URLS = {"redis": "redis_url", "amqp": "amqp_url"}


def _url(request: pytest.FixtureRequest, name: str) -> str:
    fixture = URLS.get(name)
    return request.getfixturevalue(fixture) if fixture else f"{name}://"


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def app(request: pytest.FixtureRequest, unique: str) -> Iterator[Any]:
    broker, backend = (_url(request, name) for name in request.param)
    with an_app(broker, backend, unique) as app:
        yield app


@pytest.fixture
def redis_app(redis_url: str, unique: str) -> Iterator[Any]:
    with an_app(redis_url, redis_url, unique) as app:
        yield app


async def _send(app: Any, count: int = 3) -> None:
    results = await asyncio.gather(*(app.add.adelay(n, n) for n in range(count)))
    assert len({result.id for result in results}) == count


def _grown(step: Callable[[], None], times: int) -> tuple[int, int]:
    """How many sockets and threads `times` steps add, after one to warm up."""
    step()
    step()
    gc.collect()
    before = sockets(), threading.active_count()
    for _ in range(times):
        step()
    gc.collect()
    return sockets() - before[0], threading.active_count() - before[1]


def test_a_hundred_loops(app: Any) -> None:
    grown = _grown(lambda: asyncio.run(_send(app)), 100)
    assert max(grown) <= 1, grown


def test_a_hundred_loops_that_wait(redis_app: Any) -> None:
    async def main() -> None:
        result = await redis_app.add.adelay(1, 1)
        redis_app.backend.store_result(result.id, 2, "SUCCESS")
        assert await result.aget(timeout=30) == 2

    grown = _grown(lambda: asyncio.run(main()), 100)
    assert max(grown) <= 2, grown


def test_eight_threads_with_a_loop_each(app: Any) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(5):
                asyncio.run(_send(app, 10))
        except BaseException as exc:
            errors.append(exc)

    def eight() -> None:
        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    eight()
    before = sockets()
    eight()
    assert not errors
    # Kombu's pool may still fill up to its limit.
    assert sockets() - before <= 10
    for lane in lanes().values():
        assert lane.status()["threads"] <= lane.limit


def _wait_for_child(pid: int, seconds: float = 60.0) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_after_use(app: Any) -> None:
    asyncio.run(_send(app))
    before = threading.active_count()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(asyncio.wait_for(_send(app, 5), 40))
            code = 0 if len(bridge_threads()) <= 6 else 2
        finally:
            os._exit(code)
    assert _wait_for_child(pid) == 0
    asyncio.run(_send(app))
    assert threading.active_count() <= before + 3


@pytest.mark.parametrize("pair", [("redis", "redis"), ("memory", "cache+memory")])
def test_a_thousand_cancelled_waits(
    request: pytest.FixtureRequest, unique: str, pair: tuple[str, str]
) -> None:
    broker, backend = (_url(request, name) for name in pair)
    rand = random.Random(1)

    async def wait(app: Any, id_: str) -> None:
        task = asyncio.ensure_future(app.AsyncResult(id_).aget(timeout=60))
        for _ in range(rand.randrange(4)):
            await asyncio.sleep(0)
        await asyncio.sleep(rand.random() * 0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main(app: Any) -> None:
        ids = [f"{unique}-{n}" for n in range(1000)]
        for start in range(0, 1000, 100):
            await asyncio.gather(*(wait(app, id_) for id_ in ids[start : start + 100]))
        # What the last look had begun may take a moment to end.
        for _ in range(1000):
            if not queued():
                break
            await asyncio.sleep(0.02)
        assert not queued(), {lane.name: lane.status() for lane in lanes().values()}
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others
        # Were there no thread left, this would miss its deadline.
        app.backend.store_result(ids[0], 7, "SUCCESS")
        assert await app.AsyncResult(ids[0]).aget(timeout=30) == 7
        await _send(app)

    with an_app(broker, backend, unique) as app:
        asyncio.run(main(app))
    for lane in lanes().values():
        assert lane.status()["threads"] <= lane.limit


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(pair))
async def test_waiters_leave_room_for_a_send(
    request: pytest.FixtureRequest, unique: str, pair: tuple[str, str]
) -> None:
    broker, backend = (_url(request, name) for name in pair)
    with an_app(broker, backend, unique, async_threads=32) as app:
        first = await app.add.adelay(0, 0)
        results = [app.AsyncResult(f"{unique}-{n}") for n in range(32)] + [first]
        waits = [asyncio.ensure_future(result.aget()) for result in results]
        await asyncio.sleep(0.2)
        # Behind those that wait for ever it would miss its deadline.
        await app.add.adelay(1, 2)
        assert not any(wait.done() for wait in waits)
        for wait in waits:
            wait.cancel()
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)


@pytest.mark.parametrize("broker", URLS)
async def test_waiting_consumers_leave_room_for_a_send(
    request: pytest.FixtureRequest, unique: str, broker: str
) -> None:
    """Waits that hold a thread each (`SimpleQueue.aget`) hold none that sends need."""
    from kombu import Connection

    url = _url(request, broker)
    with an_app(url, "", unique, async_threads=32) as app:
        connections: list[Any] = [Connection(url) for _ in range(33)]
        queues = [
            await connection.asimple_queue(
                f"{unique}.{n}", queue_opts={"auto_delete": True}
            )
            for n, connection in enumerate(connections)
        ]
        waits = [asyncio.ensure_future(queue.aget()) for queue in queues]
        await asyncio.sleep(0.3)
        await app.add.adelay(1, 2)
        assert not any(wait.done() for wait in waits)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits, timeout=60)
        assert all(wait.done() for wait in waits)
        for queue, connection in zip(queues, connections, strict=True):
            await queue.aclose()
            await connection.arelease()


async def test_cancelled_before_a_thread_has_it_nothing_is_sent(
    redis_app: Any,
) -> None:
    send = asyncio.ensure_future(redis_app.add.adelay(1, 2))
    send.cancel()
    with pytest.raises(asyncio.CancelledError):
        await send
    await redis_app.add.adelay(3, 4)
    assert redis_app.control.purge() == 1


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(pair))
async def test_cancelled_sends_leave_nothing_behind(
    request: pytest.FixtureRequest, unique: str, pair: tuple[str, str]
) -> None:
    broker, backend = (_url(request, name) for name in pair)
    rand = random.Random(2)
    done = 0
    with an_app(broker, backend, unique) as app:
        for _ in range(10):
            sends = [asyncio.ensure_future(app.add.adelay(n, n)) for n in range(20)]
            await asyncio.sleep(rand.random() * 0.02)
            for send in sends:
                send.cancel()
            found = await asyncio.gather(*sends, return_exceptions=True)
            done += sum(not isinstance(one, BaseException) for one in found)
            wrong = [one for one in found if isinstance(one, Exception)]
            assert not wrong
        await app.add.adelay(1, 2)
        for _ in range(1000):
            if not queued():
                break
            await asyncio.sleep(0.02)
        assert not queued()
        # One that had begun goes on to its end; none goes twice.
        assert done + 1 <= app.control.purge() <= 201
