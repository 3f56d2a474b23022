# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, _state, chain, chord, current_app, current_task, group
from celery.exceptions import (
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from celery.worker import state as worker_state
from kombu import pools
from kombu.exceptions import OperationalError

import celery_async_bridge
from celery_async_bridge import embedded_worker
from tests.unit._memory import memory_app

if TYPE_CHECKING:
    from collections.abc import Awaitable


@pytest.fixture
def app(unique: str) -> Any:
    app = memory_app(unique)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="aadd")
    async def aadd(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x + y

    @app.task(name="nap")
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    return app


async def value(sent: Awaitable[Any], timeout: float = 60) -> Any:
    return await (await sent).aget(timeout=timeout)


async def test_round_trips_are_quick(app: Any) -> None:
    async with embedded_worker(app):
        for name in ("add", "aadd"):
            took = []
            for number in range(30):
                start = time.perf_counter()
                assert await value(app.tasks[name].adelay(number, 1)) == number + 1
                took.append(time.perf_counter() - start)
            # A stock worker looks once a second. How quick it is: tests/benchmarks.
            assert statistics.median(took) < 0.5


async def test_start_and_stop_are_quick(app: Any) -> None:
    starts, stops = [], []
    for _ in range(5):
        began = time.perf_counter()
        async with embedded_worker(app):
            starts.append(time.perf_counter() - began)
            await value(app.tasks["add"].aapply_async((1, 1), countdown=0.01))
            began = time.perf_counter()
        stops.append(time.perf_counter() - began)
    # One that waited for a stock timer or poll would take a second as a rule.
    assert statistics.median(starts) < 0.5
    assert statistics.median(stops) < 0.8


async def test_async_bodies_run_on_the_callers_loop_and_sync_ones_do_not(
    app: Any,
) -> None:
    @app.task
    async def loop() -> bool:
        return asyncio.get_running_loop() is here

    @app.task
    def thread() -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return threading.current_thread().name

    here = asyncio.get_running_loop()
    async with embedded_worker(app):
        assert await value(loop.adelay())
        name = await value(thread.adelay())
    assert name != threading.current_thread().name


async def test_a_hundred_naps_at_once(app: Any) -> None:
    async with embedded_worker(app, concurrency=100):
        start = time.perf_counter()
        sent = [await app.tasks["nap"].adelay(0.5) for _ in range(100)]
        await asyncio.gather(*(result.aget(timeout=60) for result in sent))
        assert time.perf_counter() - start < 25  # one after the other: 50


async def test_not_more_than_the_concurrency(app: Any) -> None:
    running, most, full = 0, 0, asyncio.Event()

    @app.task
    async def counted() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        await asyncio.sleep(0.05)
        running -= 1

    async with embedded_worker(app, concurrency=3):
        sent = [await counted.adelay() for _ in range(12)]
        await asyncio.gather(*(result.aget(timeout=60) for result in sent))
    assert most == 3


async def test_canvas(app: Any) -> None:
    add, aadd = app.tasks["add"], app.tasks["aadd"]

    @app.task
    def total(values: list[int]) -> int:
        return sum(values)

    async with embedded_worker(app):
        steps = chain(add.s(1, 2), aadd.s(3), add.s(4))
        assert await value(steps.aapply_async()) == 10
        several = await group(aadd.s(i, i) for i in range(4)).aapply_async()
        assert await several.aget(timeout=60) == [0, 2, 4, 6]
        for part in (add, aadd):
            both = chord([part.s(i, i) for i in range(4)], total.s())
            assert await value(both.aapply_async()) == 12


async def test_errors_and_retries(app: Any) -> None:
    # Not sooner: upstream sends the next attempt before it stores RETRY, which would
    # then overwrite the SUCCESS of an attempt that is quicker.
    @app.task
    async def fails() -> None:
        raise KeyError("no")

    @app.task(bind=True)
    async def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0.1)
        return int(self.request.retries)

    @app.task(bind=True)
    async def awaited(self: Any) -> int:
        if self.request.retries < 2:
            await self.aretry(countdown=0.1)
        return int(self.request.retries)

    @app.task(bind=True, autoretry_for=(KeyError,), retry_kwargs={"countdown": 0.1})
    def auto(self: Any) -> int:
        if self.request.retries < 2:
            raise KeyError
        return int(self.request.retries)

    async with embedded_worker(app):
        with pytest.raises(KeyError):
            await value(fails.adelay())
        took = []
        for task in (again, awaited, auto) * 3:
            start = time.perf_counter()
            assert await value(task.adelay()) == 2
            took.append(time.perf_counter() - start)
        # Twice 0.1 s; a stock timer is up to a second late, each time.
        assert statistics.median(took) < 0.8


async def test_a_coroutine_that_only_comes_back(app: Any) -> None:
    @app.task
    def hidden() -> Any:
        async def body() -> bool:
            return asyncio.get_running_loop() is here

        return body()

    here = asyncio.get_running_loop()
    async with embedded_worker(app):
        assert await value(hidden.adelay())


async def test_a_task_registered_after_the_start(app: Any) -> None:
    async with embedded_worker(app) as worker:

        @app.task(name="late")
        async def late() -> int:
            await asyncio.sleep(0)
            return 5

        worker.shift.consumer.update_strategies()
        assert await value(app.tasks["late"].adelay()) == 5


async def test_requests_do_not_mix(app: Any) -> None:
    @app.task(bind=True)
    async def ids(self: Any, seconds: float) -> list[str]:
        found = []
        for _ in range(3):
            await asyncio.sleep(seconds)
            worker_task = _state.get_current_worker_task()
            found += [self.request.id, current_task.request.id, worker_task.request.id]
        return found

    async with embedded_worker(app, concurrency=300):
        sent = [await ids.adelay((i % 7) / 500) for i in range(300)]
        found = await asyncio.gather(*(result.aget(timeout=60) for result in sent))
    assert found == [[result.id] * 9 for result in sent]


async def test_tasks_sent_by_a_body_are_its_children(app: Any) -> None:
    aadd = app.tasks["aadd"]

    @app.task(bind=True)
    async def parent(self: Any) -> list[str]:
        several = await asyncio.gather(*(aadd.adelay(i, i) for i in range(3)))
        return [result.id for result in (*several, aadd.delay(1, 1))]

    @app.task(bind=True)
    async def ancestry(self: Any) -> list[str]:
        return [self.request.parent_id, self.request.root_id]

    @app.task
    async def outer() -> str:
        return str((await ancestry.adelay()).id)

    async with embedded_worker(app):
        result = await parent.adelay()
        ids = await result.aget(timeout=60)
        assert {child.id for child in result.children} == set(ids)
        root = await outer.adelay()
        inner = app.AsyncResult(await root.aget(timeout=60))
        assert await inner.aget(timeout=60) == [root.id, root.id]


async def test_a_result_cannot_be_waited_for_inside_a_task(app: Any) -> None:
    add = app.tasks["add"]

    @app.task
    def sync() -> None:
        add.delay(1, 1).get(timeout=1)

    @app.task
    async def asynchronous() -> None:
        add.delay(1, 1).get(timeout=1)

    async with embedded_worker(app):
        for task in (sync, asynchronous):
            with pytest.raises(RuntimeError, match="Never call"):
                await value(task.adelay())
        # The flag is the task's, not the process's.
        assert not _state.task_join_will_block()
    assert _state._task_join_will_block is False


async def test_time_limits(app: Any) -> None:
    @app.task(soft_time_limit=0.3)
    async def soft() -> str:
        try:
            await asyncio.sleep(30)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)
            return "cleaned up"
        return "never"

    @app.task(soft_time_limit=0.3)
    async def unheeded() -> None:
        await asyncio.sleep(30)

    @app.task(time_limit=0.3)
    async def hard() -> None:
        await asyncio.sleep(30)

    async with embedded_worker(app):
        assert await value(soft.adelay()) == "cleaned up"
        with pytest.raises(SoftTimeLimitExceeded):
            await value(unheeded.adelay())
        with pytest.raises(TimeLimitExceeded):
            await value(hard.adelay())
        assert await value(app.tasks["aadd"].adelay(1, 1)) == 2


async def test_revoke(app: Any) -> None:
    async with embedded_worker(app):
        running = await app.tasks["nap"].adelay(60)
        await asyncio.sleep(0.05)
        await running.arevoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            await running.aget(timeout=30)
        # Older releases announce this one when its time has come.
        planned = await app.tasks["nap"].aapply_async((0,), countdown=2)
        await planned.arevoke()
        with pytest.raises(TaskRevokedError):
            await planned.aget(timeout=30)
        assert await value(app.tasks["aadd"].adelay(1, 1)) == 2


async def test_remote_control(app: Any) -> None:
    async with embedded_worker(app):
        replies = await app.control.inspect(timeout=1.5).aping()
        assert list(replies.values()) == [{"ok": "pong"}]
        stats = await app.control.inspect(timeout=1.5).astats()
        (one,) = stats.values()
        assert one["pool"]["max-concurrency"] == 100


async def test_two_workers_with_different_apps(unique: str) -> None:
    apps = [memory_app(f"{unique}{i}") for i in range(2)]
    for one in apps:

        @one.task(name="main")
        async def main() -> str:
            await asyncio.sleep(0.01)
            return str(current_app.main)

        @one.task(name="smain")
        def smain() -> str:
            return str(current_app.main)

    async with embedded_worker(apps[0]), embedded_worker(apps[1]):
        for name in ("main", "smain"):
            found = await asyncio.gather(
                *(value(one.tasks[name].adelay()) for one in apps for _ in range(5))
            )
            assert found == [one.main for one in apps for _ in range(5)]
    async with embedded_worker(apps[0]):
        async with embedded_worker(apps[1]):
            pass
        assert await value(apps[0].tasks["main"].adelay()) == apps[0].main


async def test_restarts_leave_nothing(app: Any) -> None:
    async def once() -> int:
        async with embedded_worker(app):
            assert await value(app.tasks["add"].adelay(1, 1)) == 2
            assert await value(app.tasks["aadd"].aapply_async((1, 1), countdown=0)) == 2
        return threading.active_count()

    counts = [await once() for _ in range(6)]
    # A lane may have grown by a thread meanwhile; a leak would be one per restart.
    assert counts[-1] <= counts[0] + 2
    assert not worker_state.should_stop
    assert not worker_state.active_requests


async def test_leaving_waits_for_running_tasks(app: Any) -> None:
    began = asyncio.Event()

    @app.task
    async def short() -> None:
        began.set()
        await asyncio.sleep(0.2)

    async with embedded_worker(app):
        result = await short.adelay()
        await began.wait()
    assert result.state == "SUCCESS"


async def test_tasks_that_go_on_too_long_are_cancelled(app: Any) -> None:
    steps: list[str] = []
    began = asyncio.Event()

    @app.task
    async def endless() -> None:
        began.set()
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    async with embedded_worker(app, grace=0.05):
        await endless.adelay()
        await began.wait()
        start = time.perf_counter()
    assert steps == ["cancelled"]
    assert time.perf_counter() - start < 30
    async with embedded_worker(app):
        (busy,) = (await app.control.inspect(timeout=1).aactive()).values()
        assert busy == []


async def test_what_was_fetched_but_not_executed_is_not_lost(app: Any) -> None:
    async with embedded_worker(app):
        result = await app.tasks["aadd"].aapply_async((1, 1), countdown=0.3)
        await asyncio.sleep(0.05)  # the worker has it, and waits for its time
    async with embedded_worker(app):
        assert await result.aget(timeout=60) == 2


async def test_the_callers_error_comes_through(app: Any) -> None:
    with pytest.raises(KeyError):
        async with embedded_worker(app):
            raise KeyError
    assert "celery-async-worker" not in str(threading.enumerate())


async def test_cancelling_the_caller_stops_the_worker(app: Any) -> None:
    async def serve() -> None:
        async with embedded_worker(app):
            await asyncio.sleep(60)

    serving = asyncio.ensure_future(serve())
    await asyncio.sleep(0.2)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert "celery-async-worker" not in str(threading.enumerate())


async def test_a_broker_that_is_not_there(unique: str) -> None:
    app: Any = Celery(
        unique, broker="redis://:secret@127.0.0.1:1/0", set_as_current=False
    )
    start = time.perf_counter()
    with pytest.raises(OperationalError) as failed:
        async with embedded_worker(app, start_timeout=1):
            pass
    assert time.perf_counter() - start < 30
    assert "secret" not in str(failed.value)


async def test_it_installs_the_bridge(app: Any) -> None:
    celery_async_bridge.uninstall()
    try:
        async with embedded_worker(app):
            assert await value(app.tasks["aadd"].adelay(1, 1)) == 2
    finally:
        celery_async_bridge.install()


# What upstream leaves to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")
@pytest.mark.parametrize("servers", ["redis", "amqp", "amqp+redis"])
async def test_other_servers(
    servers: str, unique: str, request: pytest.FixtureRequest
) -> None:
    if "amqp" in servers:
        queue = request.getfixturevalue("amqp_queue")("w")
        broker = request.getfixturevalue("amqp_url")
    else:
        queue, broker = unique, request.getfixturevalue("redis_url")
    backend = "rpc://"
    settings: dict[str, Any] = {}
    if "redis" in servers:
        options = request.getfixturevalue("redis_options")
        backend = request.getfixturevalue("redis_url")
        settings["result_backend_transport_options"] = options
        if servers == "redis":
            settings["broker_transport_options"] = options
    app: Any = Celery(unique, broker=broker, backend=backend, set_as_current=False)
    app.conf.update(task_default_queue=queue, **settings)

    @app.task(name=f"{unique}.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name=f"{unique}.loop", bind=True)
    async def loop(self: Any) -> tuple[bool, str]:
        await asyncio.sleep(0.02)
        return asyncio.get_running_loop() is here, self.request.id

    @app.task(name=f"{unique}.again", bind=True)
    async def again(self: Any) -> int:
        if self.request.retries < 1:
            raise self.retry(countdown=0.3)
        return int(self.request.retries)

    here = asyncio.get_running_loop()
    async with embedded_worker(app):
        assert await value(add.adelay(1, 2)) == 3
        sent = await asyncio.gather(*(loop.adelay() for _ in range(20)))
        found = await asyncio.gather(*(result.aget(timeout=60) for result in sent))
        assert found == [[True, result.id] for result in sent]
        assert await value(again.adelay()) == 1
    app.close()
    pools.reset()
    gc.collect()
