"""`django.tasks` on Celery: the behaviours of Django's own backends, and Celery's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from kombu.exceptions import OperationalError

import celery_async_bridge
from tests.integration.apps import an_app
from tests.integration.django import proj

pytest.importorskip("django")
pytest.importorskip("django.tasks", reason="django.tasks needs Django 6.0")


@pytest.fixture
def jobs() -> Any:
    from tests.integration.django import jobs

    return jobs


@pytest.fixture(params=["embedded", "redis"])
def task_app(request: pytest.FixtureRequest, unique: str) -> Iterator[Any]:
    """The app that the backend sends with."""
    url = f"embedded://{unique}"
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    with an_app(url, url, unique) as app:
        proj.task_app = app
        yield app
        proj.task_app = None


@asynccontextmanager
async def worker(app: Any, *queues: str) -> AsyncIterator[None]:
    default = app.conf.task_default_queue
    app.amqp.queues.select([default, *queues])
    async with celery_async_bridge.embedded_worker(app):
        yield
    app.amqp.queues.select([default])


async def finished(result: Any) -> Any:
    """The result, when Celery says that it is there."""
    ready = proj.task_app.AsyncResult(result.id)
    await ready.aget(timeout=60, propagate=False)
    assert not result.is_finished
    await result.arefresh()
    assert result.is_finished
    return result


async def run(task: Any, *args: Any, **kwargs: Any) -> Any:
    return await finished(await task.aenqueue(*args, **kwargs))


@pytest.mark.parametrize("name", ["add", "aadd"])
async def test_a_function_is_executed(task_app: Any, jobs: Any, name: str) -> None:
    from django.tasks import TaskResultStatus

    task = getattr(jobs, name)
    async with worker(task_app):
        result = await task.aenqueue(2, y=3)
        assert result.status == TaskResultStatus.READY
        assert (result.task, result.args, result.kwargs) == (task, [2], {"y": 3})
        assert result.enqueued_at is not None
        assert result.started_at is result.finished_at is None
        assert result.attempts == 0
        with pytest.raises(ValueError, match="not finished"):
            result.return_value  # noqa: B018 - a property that raises
        await finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == 5
    assert result.errors == []
    times = [result.enqueued_at, result.started_at, result.finished_at]
    assert times == sorted(times)
    assert result.last_attempted_at == result.started_at
    assert result.attempts == len(result.worker_ids) == 1
    again = await task.aget_result(result.id)
    assert again == result


@pytest.mark.parametrize("name", ["fail", "afail"])
async def test_a_failure_is_told(task_app: Any, jobs: Any, name: str) -> None:
    from django.tasks import TaskResultStatus

    async with worker(task_app):
        result = await run(getattr(jobs, name), "sorry")
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "ValueError: sorry" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value  # noqa: B018 - a property that raises


async def test_exceptions_of_ones_own_and_values_that_are_not_json(
    task_app: Any, jobs: Any
) -> None:
    async with worker(task_app):
        own, value = await asyncio.gather(
            run(jobs.fail_by_own_error), run(jobs.not_json)
        )
    assert own.errors[0].exception_class is jobs.OwnError
    assert value.errors[0].exception_class is TypeError


async def test_the_context_knows_the_attempt(task_app: Any, jobs: Any) -> None:
    async with worker(task_app):
        seen, aseen = await asyncio.gather(run(jobs.seen), run(jobs.aseen, "x"))
    assert seen.return_value == {"id": seen.id, "attempt": 1, "status": "RUNNING"}
    assert aseen.return_value == [aseen.id, 1, "x"]


async def test_a_coroutine_runs_on_the_loop_of_the_worker(
    task_app: Any, jobs: Any
) -> None:
    async with worker(task_app):
        result = await run(jobs.threads)
    loop, sync = result.return_value
    assert loop == threading.get_ident() != sync


async def test_a_task_may_have_another_name_than_its_function(
    task_app: Any, jobs: Any
) -> None:
    async with worker(task_app):
        result = await run(jobs.doubled, 4)
    assert result.return_value == 8


async def test_queue_priority_and_time_are_celerys(task_app: Any, jobs: Any) -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    later = jobs.add.using(run_after=moment)
    async with worker(task_app, "urgent"):
        urgent, late = await asyncio.gather(run(jobs.urgent), run(later, 1))
    assert urgent.return_value == "done"
    assert (urgent.task.queue_name, urgent.task.priority) == ("urgent", 50)
    assert late.started_at >= moment
    assert late.task == later


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://h//", [0, 4, 9]),
        ("redis://h/0", [9, 5, 0]),
        ("embedded://h", [0, 4, 9]),
    ],
)
def test_a_higher_priority_is_the_brokers_higher_one(
    task_app: Any, jobs: Any, url: str, expected: list[int]
) -> None:
    from django.tasks import default_task_backend

    task_app.conf.broker_url = task_app.conf.broker_write_url = url
    priorities = [default_task_backend._priority(one) for one in (-100, 0, 100)]
    assert priorities == expected


async def test_results_that_do_not_exist(task_app: Any, jobs: Any) -> None:
    from django.tasks import default_task_backend
    from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch

    with pytest.raises(TaskResultDoesNotExist):
        await default_task_backend.aget_result("nobody")
    result = await jobs.add.aenqueue(1)
    assert (await default_task_backend.aget_result(result.id)) == result
    with pytest.raises(TaskResultMismatch):
        await jobs.aadd.aget_result(result.id)


def test_the_sync_methods_do_the_same(task_app: Any, jobs: Any) -> None:
    from django.tasks import TaskResultStatus, default_task_backend
    from django.tasks.exceptions import TaskResultDoesNotExist

    result = jobs.add.enqueue(1, y=2)
    assert result.status == TaskResultStatus.READY
    assert jobs.add.get_result(result.id) == result

    async def execute() -> None:
        async with worker(task_app):
            await task_app.AsyncResult(result.id).aget(timeout=60)

    asyncio.run(execute())
    result.refresh()
    assert result.return_value == 3
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result("nobody")


@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
async def test_what_is_not_json_is_refused_before_anything_is_sent(
    task_app: Any, jobs: Any, how: str
) -> None:
    from asgiref.sync import sync_to_async

    enqueue = getattr(jobs.add, how)
    enqueue = enqueue if how == "aenqueue" else sync_to_async(enqueue)
    with pytest.raises(TypeError):
        await enqueue(object())
    async with worker(task_app):
        assert (await run(jobs.add, 1)).return_value == 1


def test_what_cannot_be_executed_is_refused(task_app: Any, jobs: Any) -> None:
    from django.tasks import task
    from django.tasks.exceptions import InvalidTask

    with pytest.raises(InvalidTask, match="module level"):
        task(lambda: None)
    with pytest.raises(InvalidTask, match="Queue 'nowhere'"):
        jobs.add.using(queue_name="nowhere")
    with pytest.raises(InvalidTask, match="whole number"):
        jobs.add.using(priority=101)
    with pytest.raises(InvalidTask, match="aware"):
        jobs.add.using(run_after=datetime(2030, 1, 1))  # noqa: DTZ001,RUF100


async def test_the_signals_are_sent_once_each(task_app: Any, jobs: Any) -> None:
    from django.tasks.signals import task_enqueued, task_finished, task_started

    heard: list[tuple[str, str, bool]] = []
    here = threading.get_ident()

    def receiver(name: str) -> Any:
        def hear(sender: Any, task_result: Any, **_: Any) -> None:
            assert sender.__name__ == "CeleryTaskBackend"
            on_loop = threading.get_ident() == here
            heard.append((name, str(task_result.status), on_loop))

        return hear

    signals = {"enqueued": task_enqueued, "started": task_started}
    signals["finished"] = task_finished
    receivers = {name: receiver(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    try:
        async with worker(task_app):
            for task in (jobs.add, jobs.aadd):
                heard.clear()
                await run(task, 1)
                assert sorted(heard) == [
                    ("enqueued", "READY", False),
                    ("finished", "SUCCESSFUL", False),
                    ("started", "RUNNING", False),
                ]
    finally:
        for name, signal in signals.items():
            signal.disconnect(receivers[name])


async def test_a_transaction_is_not_waited_for(task_app: Any, jobs: Any) -> None:
    from asgiref.sync import sync_to_async
    from django.db import transaction

    atomic = transaction.atomic()
    await sync_to_async(atomic.__enter__)()
    async with worker(task_app):
        assert (await run(jobs.add, 1)).return_value == 1
    await sync_to_async(atomic.__exit__)(None, None, None)


@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
async def test_what_the_broker_refuses_leaves_nothing(
    task_app: Any, jobs: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asgiref.sync import sync_to_async

    from celery_async_bridge.contrib.django.runner import RUN

    kept: list[str] = []
    backend = task_app.backend
    forget_one = type(backend).forget

    def forget(self: Any, task_id: str) -> None:
        kept.append(task_id)
        forget_one(self, task_id)

    # Each thread has a backend of its own.
    monkeypatch.setattr(type(backend), "forget", forget)

    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("no")

    monkeypatch.setattr(task_app.tasks[RUN], "apply_async", refuse)
    enqueue = getattr(jobs.add, how)
    enqueue = enqueue if how == "aenqueue" else sync_to_async(enqueue)
    with pytest.raises(OperationalError):
        await enqueue(1)
    (entry,) = kept
    assert backend.get_task_meta(entry)["status"] == "PENDING"


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("name", ["add", "aadd"])
async def test_in_eager_mode_it_is_executed_at_once(
    task_app: Any, jobs: Any, name: str, stores: bool
) -> None:
    from asgiref.sync import sync_to_async
    from django.tasks import default_task_backend

    from celery_async_bridge.contrib.django.runner import runner_for

    task = getattr(jobs, name)
    task_app.conf.task_always_eager = True
    task_app.conf.task_store_eager_result = stores
    # Celery's tasks have read the setting when they were bound.
    runner_for(task_app, task.func).store_eager_result = stores
    result = await task.aenqueue(2, 3)
    assert result.is_finished
    assert result.return_value == 5
    again = await sync_to_async(task.enqueue)(2, 4)
    assert again.return_value == 6
    assert default_task_backend.supports_get_result is stores
    if stores:
        assert (await task.aget_result(again.id)).return_value == 6


def test_without_a_shared_backend_there_are_no_results(task_app: Any) -> None:
    from django.tasks import default_task_backend

    assert default_task_backend.supports_get_result
    for url in (None, "rpc://"):
        task_app.conf.result_backend = url
        assert not default_task_backend.supports_get_result
        with pytest.raises(NotImplementedError, match="result_backend"):
            default_task_backend.get_result("any")


def test_an_unknown_option_is_named() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from celery_async_bridge.contrib.django import CeleryTaskBackend

    with pytest.raises(ImproperlyConfigured, match=r"unknown OPTIONS aps.*'app'"):
        CeleryTaskBackend("default", {"OPTIONS": {"aps": "x"}})
