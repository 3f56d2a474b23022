"""What tasks share, async handlers, and what a worker says of slow or lost bodies."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,override,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from celery import Task
from celery.signals import worker_init

from celery_async_bridge import aclose, embedded_worker
from celery_async_bridge.core.loops import LoopLocal
from celery_async_bridge.errors import AsyncBodyError, BridgeError
from celery_async_bridge.install import install, uninstall
from celery_async_bridge.worker import slow
from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app
from tests.unit.worker.test_pool import Asked, send


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


def register(app: Any, notes: list[Any]) -> None:
    @app.lifespan
    @asynccontextmanager
    async def first() -> AsyncIterator[dict[str, Any]]:
        notes.append("first opens")
        yield {"pool": asyncio.get_running_loop()}
        notes.append("first closes")

    @app.define_app_context
    @asynccontextmanager
    async def second(given: Any) -> AsyncIterator[None]:
        notes.append(("second opens", given is app))
        yield
        notes.append("second closes")


ORDER = [
    "first opens",
    ("second opens", True),
    "task",
    "second closes",
    "first closes",
]


async def test_context_in_an_embedded_worker(app: Any) -> None:
    notes: list[Any] = []
    register(app, notes)

    @app.task
    async def asynchronous() -> bool:
        notes.append("task")
        return app.context["pool"] is asyncio.get_running_loop()

    @app.task
    def sync() -> bool:
        return "pool" in app.context

    async with embedded_worker(app):
        assert await (await asynchronous.adelay()).aget(timeout=60)
        assert await (await sync.adelay()).aget(timeout=60)
    assert notes == ORDER
    with pytest.raises(BridgeError, match=r"app\.setup"):
        _ = app.context


def test_context_in_a_pool_with_a_loop_of_its_own(app: Any) -> None:
    notes: list[Any] = []
    register(app, notes)

    @app.task(name="uses")
    async def uses() -> str:
        notes.append("task")
        return "+".join(app.context)

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    asked = Asked()
    send(pool, "uses", asked)
    assert asked.wait()[-1][1][1] == "'pool'"
    pool.stop()
    assert notes == ORDER


def test_a_context_that_does_not_open_ends_the_start(app: Any) -> None:
    @app.lifespan
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    with pytest.raises(OSError, match="no database"):
        pool.start()
    pool.terminate()


@pytest.fixture
def held() -> LoopLocal[list[str]]:
    """Something of the bridge's that belongs to a loop, and notes its end."""
    return LoopLocal(list, lambda value: value.append("closed"))


@pytest.mark.parametrize("given", [None, object()])
async def test_the_lifespan_of_a_server_closes_connections(
    app: Any, held: LoopLocal[list[str]], given: Any
) -> None:
    notes: list[Any] = []

    @app.lifespan
    @asynccontextmanager
    async def first() -> AsyncIterator[None]:
        yield
        notes.append(list(held.get()))

    async with app.setup(given):
        value = held.get()
    # What is shared may send a last message.
    assert notes == [[]]
    assert value == (["closed"] if given else [])
    await aclose()


async def test_as_the_lifespan_of_fastapi(app: Any, held: LoopLocal[list[str]]) -> None:
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    notes: list[Any] = []
    register(app, notes)
    server = fastapi.FastAPI(lifespan=app.setup)
    async with server.router.lifespan_context(server):
        assert app.context["pool"] is asyncio.get_running_loop()
        value = held.get()
    assert len(notes) == 4
    assert value == ["closed"]


async def test_setup_outside_a_worker(app: Any) -> None:
    notes: list[Any] = []
    register(app, notes)
    async with app.setup(object()) as found:
        notes.append("task")
        assert found["pool"] is app.context["pool"] is asyncio.get_running_loop()
        async with app.setup() as again:
            assert again is found
    assert notes == ORDER


async def test_async_handlers(app: Any) -> None:
    notes: list[Any] = []

    class Noting(Task):
        async def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            await asyncio.sleep(0)
            notes.append(("before_start", self.request.id == task_id))

        async def on_success(
            self, retval: Any, task_id: str, args: Any, kwargs: Any
        ) -> None:
            await asyncio.sleep(0)
            notes.append(("on_success", retval))

        async def on_failure(
            self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            await asyncio.sleep(0)
            notes.append(("on_failure", str(exc)))

        async def on_retry(
            self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            notes.append("on_retry")

        async def after_return(
            self, status: str, retval: Any, task_id: str, *rest: Any
        ) -> None:
            notes.append(("after_return", status))

    @app.task(base=Noting, bind=True, max_retries=1)
    async def works(self: Any) -> int:
        if not self.request.retries:
            await self.aretry(countdown=0)
        return 1

    @app.task(base=Noting)
    def fails() -> None:
        raise ValueError("boo")

    async with embedded_worker(app):
        assert await (await works.adelay()).aget(timeout=60) == 1
        failed = await fails.adelay()
        with pytest.raises(ValueError, match="boo"):
            await failed.aget(timeout=60)
    assert notes == [
        ("before_start", True),
        "on_retry",
        ("before_start", True),
        ("on_success", 1),
        ("after_return", "SUCCESS"),
        ("before_start", True),
        ("on_failure", "boo"),
        ("after_return", "FAILURE"),
    ]
    assert asyncio.iscoroutinefunction(works.on_success) is False
    uninstall()
    try:
        assert asyncio.iscoroutinefunction(works.on_success)
    finally:
        install()


def test_a_body_that_holds_the_loop_is_named(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.conf.async_debug_slow = 0.1
    said: list[str] = []
    noticed = threading.Event()

    def warning(text: str, *args: Any) -> None:
        said.append(text % args)
        noticed.set()

    # Not by `caplog`: workers of other tests take the loggers over.
    monkeypatch.setattr(slow._logger, "warning", warning)

    @app.task(name="hogs")
    async def hogs() -> None:
        noticed.wait(60)

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    asked = Asked()
    send(pool, "hogs", asked)
    asked.done.wait(90)
    pool.stop()
    assert "Task hogs[id] holds the event loop" in said[0]
    assert ", in hogs" in said[0]


@pytest.mark.parametrize("name", ["prefork", "solo", "threads"])
def test_a_stock_pool_names_the_pool_that_is_needed(app: Any, name: str) -> None:
    from celery import concurrency
    from celery.app.trace import build_tracer

    @app.task(name="lost")
    async def lost() -> int:
        return 1

    @app.task(name="fine")
    def fine() -> int:
        result: int = lost.apply().get(disable_sync_subtasks=False)
        return result

    class Worker:
        pool_cls: Any = concurrency.get_implementation(name)

    worker: Any = Worker()
    worker.app = app
    app.finalize()
    worker_init.send(sender=worker)
    try:
        traced = build_tracer("lost", app.tasks["lost"], app=app)(
            "id", [], {}, {"id": "id"}
        )
        failed = traced[1]
        assert isinstance(failed.retval, AsyncBodyError)
        assert "celery worker -P asyncio" in str(failed.retval)
        # In eager mode it runs as ever.
        assert (
            build_tracer("fine", app.tasks["fine"], app=app)("id", [], {}, {})[0] == 1
        )
    finally:
        uninstall()
        install()
