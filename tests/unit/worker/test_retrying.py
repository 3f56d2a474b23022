"""`self.retry()` in a body: what is sent, from where, and what becomes of the task."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.exceptions import Reject, Retry
from celery.signals import before_task_publish

from celery_async_bridge import embedded_worker
from celery_async_bridge.core.trampoline import in_trampoline
from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app
from tests.unit.worker.test_pool import Asked, send

Told = list[Any]


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


@contextmanager
def sending() -> Iterator[list[bool]]:
    """Note for each message whether it left below a coroutine, blocking its loop."""
    blocked: list[bool] = []

    def note(**_: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            blocked.append(False)
        else:
            blocked.append(not in_trampoline())

    before_task_publish.connect(note)
    try:
        yield blocked
    finally:
        before_task_publish.disconnect(note)


def raises(task: Any, told: Told) -> None:
    try:
        raise KeyError("why")
    except KeyError as exc:
        raise task.retry(countdown=60, exc=exc)  # noqa: B904


def forgets_to_raise(task: Any, told: Told) -> None:
    task.retry((2,), {"y": 3}, countdown=60)


def catches(task: Any, told: Told) -> None:
    try:
        task.retry(countdown=60)
    except Retry as exc:
        told.append(str(exc))


def cannot_be_sent(task: Any, told: Told) -> None:
    task.retry(countdown=60, serializer="no such")


def has_no_attempt_left(task: Any, told: Told) -> None:
    try:
        task.retry(countdown=60, max_retries=0)
    except task.MaxRetriesExceededError:
        told.append("exceeded")
        raise


def does_not_throw(task: Any, told: Told) -> None:
    told.append(type(task.retry(countdown=60, throw=False)).__name__)


def executed(app: Any, kind: str, body: Callable[[Any, Told], None]) -> Any:
    """Run `body` in a task of that kind; what the worker heard, and what was sent."""
    told: Told = []

    def sync(self: Any, *args: Any, **kwargs: Any) -> str:
        body(self, told)
        return "over"

    async def asynchronous(self: Any, *args: Any, **kwargs: Any) -> str:
        await asyncio.sleep(0)
        body(self, told)
        return "over"

    run = sync if kind == "sync" else asynchronous
    app.task(run, name=kind, bind=True)
    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    asked = Asked()
    send(pool, kind, asked)
    what, outcome = asked.wait()[-1]
    pool.stop()
    einfo = outcome if what == "error" else outcome[1]
    exc = getattr(einfo, "exception", einfo)
    exc = getattr(exc, "exc", exc)  # with its traceback, for another process
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        left = []
        while queue.qsize():
            message = queue.get(block=False)
            headers = message.headers
            left.append([headers["id"], headers["retries"], message.payload[:2]])
            message.ack()
    return [what, type(exc), str(exc).replace(kind, "<kind>"), told, left]


@pytest.mark.parametrize(
    ("body", "many"),
    [
        (raises, 1),
        (forgets_to_raise, 1),
        (catches, 1),
        (cannot_be_sent, 0),
        (has_no_attempt_left, 0),
        (does_not_throw, 1),
    ],
)
def test_an_async_body_retries_as_a_sync_one(
    app: Any, body: Callable[[Any, Told], None], many: int
) -> None:
    sync = executed(app, "sync", body)
    with sending() as blocked:
        asynchronous = executed(app, "async", body)
    assert asynchronous == sync
    assert len(sync[-1]) == many
    # Who wants `Retry` returned goes on, and gets it when the message has left.
    assert set(blocked) <= {body is does_not_throw}
    assert len(blocked) >= many


def test_what_cannot_be_sent_rejects_the_message(app: Any) -> None:
    _, kind, text, *_ = executed(app, "async", cannot_be_sent)
    assert kind is Reject or "Reject" in text


async def test_it_runs_again(app: Any) -> None:
    @app.task(bind=True)
    async def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0.1)
        return int(self.request.retries)

    with sending() as blocked:
        async with embedded_worker(app):
            assert await (await again.adelay()).aget(timeout=60) == 2
    assert blocked == [False] * 3


async def test_a_cancelled_body_sends_nothing(app: Any) -> None:
    here = asyncio.Event()

    @app.task(name="long", bind=True)
    async def long(self: Any) -> None:
        try:
            self.retry(countdown=0)
        finally:
            here.set()
            await asyncio.sleep(60)

    with sending() as blocked:
        async with embedded_worker(app, grace=0.1):
            await long.adelay()
            await asyncio.wait_for(here.wait(), 60)
    assert blocked == [False]  # the task itself
