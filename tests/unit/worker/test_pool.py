# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery.app.trace import fast_trace_task, trace_task_ret
from celery.exceptions import ImproperlyConfigured

from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


@pytest.fixture
def pool(app: Any) -> Iterator[TaskPool]:
    """A pool with a loop of its own, as in a worker process."""
    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    yield pool
    pool.stop()


class Asked:
    """The callbacks that a request hands to the pool."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.done = threading.Event()

    def options(self) -> dict[str, Any]:
        return {
            "accept_callback": lambda pid, when: self.calls.append(("accept",)),
            "callback": lambda outcome: self._end("done", outcome),
            "error_callback": lambda einfo: self._end("error", einfo.exception),
            "timeout_callback": lambda soft, limit: self._end("late", soft, limit),
        }

    def _end(self, *call: Any) -> None:
        self.calls.append(call)
        self.done.set()

    def wait(self) -> list[tuple[Any, ...]]:
        assert self.done.wait(30)
        return self.calls


def send(pool: TaskPool, name: str, asked: Asked, *args: Any, **more: Any) -> Any:
    target = more.pop("target", trace_task_ret)
    message: Any = (name, "id", {"id": "id"}, (args, {}, {}), None, None)
    return pool.apply_async(target, message, **asked.options(), **more)


@pytest.mark.parametrize("target", [trace_task_ret, fast_trace_task])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_callbacks(app: Any, unique: str, target: Any, kind: str) -> None:
    @app.task(name="sync")
    def sync(x: int) -> int:
        return x + 1

    @app.task(name="async")
    async def asynchronous(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    app.tasks[kind].__trace__ = None
    pool.start()
    if target is fast_trace_task:
        from celery.app.trace import build_tracer

        app.tasks[kind].__trace__ = build_tracer(kind, app.tasks[kind], app=app)
    asked = Asked()
    send(pool, kind, asked, 1, target=target)
    accepted, (what, outcome) = asked.wait()
    pool.stop()
    assert (accepted, what) == (("accept",), "done")
    assert outcome[:2] == (0, "2")


def test_what_the_tracer_does_not_catch_goes_to_the_error_callback(
    pool: TaskPool,
) -> None:
    asked = Asked()
    send(pool, "no such task", asked)
    assert asked.wait()[-1][0] == "error"


def test_any_function(pool: TaskPool) -> None:
    asked = Asked()
    pool.apply_async(lambda x: x * 2, (4,), **asked.options())
    assert asked.wait()[-1] == ("done", 8)


def test_a_terminated_job_is_cancelled_and_makes_no_call(app: Any) -> None:
    started, ended = threading.Event(), threading.Event()

    @app.task(name="long")
    async def long() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    asked = Asked()
    job = send(pool, "long", asked)
    assert started.wait(30)
    job.terminate("TERM")
    assert ended.wait(30)
    pool.stop()
    assert asked.calls == [("accept",)]


def test_stop_waits_for_what_was_handed_over(app: Any) -> None:
    @app.task(name="nap")
    async def nap() -> None:
        await asyncio.sleep(0.05)

    app.finalize()
    pool = TaskPool(1, app=app, initargs=(app, "here"))
    pool.start()
    several = [Asked() for _ in range(3)]
    for asked in several:
        send(pool, "nap", asked)
    pool.stop()
    assert [asked.calls[-1][0] for asked in several] == ["done"] * 3


def test_terminate_does_not_wait(app: Any) -> None:
    started = threading.Event()

    @app.task(name="long")
    async def long() -> None:
        started.set()
        await asyncio.sleep(60)

    pool = TaskPool(1, app=app, initargs=(app, "here"))
    pool.start()
    send(pool, "long", Asked())
    assert started.wait(30)
    pool.terminate()
    assert "celery-async-loop" not in str(threading.enumerate())


def test_time_limits(app: Any) -> None:
    @app.task(name="long")
    async def long() -> None:
        await asyncio.sleep(60)

    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    asked = Asked()
    send(pool, "long", asked, timeout=0.2)
    assert asked.wait() == [("accept",), ("late", False, 0.2)]
    pool.stop()


def test_grow_shrink_and_info(pool: TaskPool) -> None:
    pool.grow(2)
    assert pool.num_processes == 4
    pool.shrink(9)
    assert pool.info["max-concurrency"] == 1
    assert pool.info["tracer"] == "loop"


@pytest.fixture
def uvloop_app(app: Any) -> Any:
    app.conf.async_uvloop = True
    return app


def test_uvloop(uvloop_app: Any) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    loops = []

    @uvloop_app.task(name="where")
    async def where() -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    pool = TaskPool(2, app=uvloop_app, initargs=(uvloop_app, "here"))
    pool.start()
    asked = Asked()
    send(pool, "where", asked)
    asked.wait()
    pool.stop()
    assert isinstance(loops[0], uvloop.Loop)


def test_uvloop_that_is_missing(
    uvloop_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    pool = TaskPool(2, app=uvloop_app, initargs=(uvloop_app, "here"))
    with pytest.raises(ImproperlyConfigured, match=r"celery-async-bridge\[uvloop\]"):
        pool.start()
