# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import celery
import pytest
from celery import Task, chain, chord, current_task, group
from celery.app import trace
from celery.exceptions import Ignore, Reject
from celery.result import EagerResult

from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.errors import AsyncBodyError
from celery_async_bridge.mixins.celery.app._body import (
    ensure_body,
    is_async_task,
    restore_bodies,
)
from tests.unit._memory import memory_app

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


@pytest.fixture
def eager(unique: str) -> Any:
    return memory_app(unique, task_always_eager=True)


def double(app: Any, **options: Any) -> Any:
    @app.task(name="double", **options)
    async def double(x: int) -> int:
        await asyncio.sleep(0.001)
        return x * 2

    return app.tasks["double"]


def where(app: Any) -> Any:
    @app.task(name="where")
    def where() -> str:
        return threading.current_thread().name

    return app.tasks["where"]


async def test_aapply_awaits_an_async_task_on_this_loop(app: Any) -> None:
    @app.task
    async def loop() -> Any:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    result = await loop.aapply()
    assert type(result) is EagerResult
    assert result.get() is asyncio.get_running_loop()


async def test_aapply_runs_a_sync_task_in_a_thread(app: Any) -> None:
    name = (await where(app).aapply()).get()
    assert name != threading.current_thread().name


async def test_eager_adelay(eager: Any) -> None:
    assert await (await double(eager).adelay(2)).aget() == 4
    name = await (await where(eager).adelay()).aget()
    assert name != threading.current_thread().name


def test_sync_apply_outside_a_loop_runs_it(app: Any) -> None:
    assert double(app).apply((2,)).get() == 4


def test_eager_delay_outside_a_loop_runs_it(eager: Any) -> None:
    assert double(eager).delay(2).get() == 4


def test_the_event_loop_of_the_thread_stays(app: Any) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        double(app).apply((2,))
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def test_sync_calls_in_a_loop_name_the_remedy(eager: Any) -> None:
    task = double(eager)
    for call in (lambda: task.apply((2,)), lambda: task.delay(2)):
        with pytest.raises(AsyncBodyError, match=r"await task\.aapply"):
            call()


async def test_a_hidden_coroutine_never_becomes_the_result(app: Any) -> None:
    @app.task
    def hidden() -> Any:
        async def body() -> int:
            return 1

        return body()

    result = hidden.apply()
    assert result.state == "FAILURE"
    assert isinstance(result.result, AsyncBodyError)
    # Where it may be awaited, it is.
    assert (await hidden.aapply()).get() == 1


async def test_direct_calls_return_coroutines(app: Any) -> None:
    task = double(app)
    ensure_body(task)
    for call in (lambda: task(2), lambda: task.run(2)):
        coroutine = call()
        assert asyncio.iscoroutine(coroutine)
        assert await coroutine == 4


async def test_a_body_that_calls_its_own_gets_a_coroutine(app: Any) -> None:
    @app.task(bind=True)
    async def factorial(self: Any, n: int) -> int:
        return n * await self.run(n - 1) if n > 1 else 1

    assert (await factorial.aapply((5,))).get() == 120


async def test_errors_are_the_results(app: Any) -> None:
    @app.task
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("no")

    result = await fails.aapply()
    assert result.state == "FAILURE"
    assert "in fails" in result.traceback
    with pytest.raises(KeyError):
        await fails.aapply(throw=True)


@pytest.mark.parametrize(
    ("error", "state"), [(Ignore(), "IGNORED"), (Reject("no"), "REJECTED")]
)
async def test_control_exceptions_are_seen_by_the_tracer(
    app: Any, error: Exception, state: str
) -> None:
    @app.task
    async def raises() -> None:
        raise error

    assert (await raises.aapply()).state == state


async def test_autoretry_and_retry(app: Any) -> None:
    attempts: list[str] = []

    @app.task(bind=True, autoretry_for=(ValueError,), max_retries=5)
    async def auto(self: Any) -> int:
        attempts.append("auto")
        if self.request.retries < 2:
            raise ValueError
        return int(self.request.retries)

    @app.task(bind=True)
    async def manual(self: Any) -> int:
        attempts.append("manual")
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    assert (await auto.aapply()).get() == 2
    assert (await manual.aapply()).get() == 2
    assert attempts == ["auto"] * 3 + ["manual"] * 3


async def test_concurrent_bodies_see_their_own_request(app: Any) -> None:
    @app.task(bind=True)
    async def ids(self: Any) -> list[str]:
        found = [self.request.id]
        await asyncio.sleep(0.005)
        return [*found, self.request.id, current_task.request.id]

    results = await asyncio.gather(*(ids.aapply(task_id=str(i)) for i in range(200)))
    assert [r.get() for r in results] == [[str(i)] * 3 for i in range(200)]


async def test_eager_children_know_their_parent(app: Any) -> None:
    @app.task(bind=True)
    async def child(self: Any) -> tuple[str, str]:
        await asyncio.sleep(0)
        return self.request.parent_id, self.request.root_id

    @app.task(bind=True)
    async def parent(self: Any) -> list[Any]:
        children = await asyncio.gather(*(child.aapply() for _ in range(5)))
        assert self.request.id == "p"
        return [c.get(disable_sync_subtasks=False) for c in children]

    # Before 5.6 upstream's `apply` names no ancestors.
    ancestors = ("p", "p") if celery.VERSION >= (5, 6) else (None, None)
    assert (await parent.aapply(task_id="p")).get() == [ancestors] * 5


async def test_eager_canvas_with_sync_and_async_steps(eager: Any) -> None:
    task, thread = double(eager), where(eager)

    @eager.task
    async def total(values: list[int]) -> int:
        return sum(values)

    assert await (await chain(task.s(2), task.s()).aapply_async()).aget() == 8
    pair = await group(task.s(1), task.s(2)).aapply_async()
    assert await pair.ajoin() == [2, 4]
    body = await chord([task.s(1), task.s(2)], total.s()).aapply_async()
    assert await body.aget() == 6
    steps = await chain(task.s(2), thread.si()).aapply_async()
    assert await steps.aget() != threading.current_thread().name


async def test_arun_of_a_class_wins(app: Any) -> None:
    class Base(Task):
        abstract = True

        def run(self, x: int) -> int:
            raise NotImplementedError

        async def arun(self, x: int) -> int:
            await asyncio.sleep(0)
            return x + 1

    class Plus(Base):
        name = "plus"

    task = app.register_task(Plus())
    assert is_async_task(task)
    assert (await task.aapply((1,))).get() == 2
    assert await task.arun(1) == 2


async def test_an_arun_that_is_no_coroutine_function_does_not_count(
    app: Any,
) -> None:
    class Odd(Task):
        name = "odd"

        def run(self) -> str:
            return "run"

        def arun(self) -> str:
            return "arun"

    task = app.register_task(Odd())
    assert not is_async_task(task)
    assert (await task.aapply()).get() == "run"


async def test_arun_of_the_bridge(app: Any) -> None:
    assert await double(app).arun(2) == 4
    assert await where(app).arun() != threading.current_thread().name


async def test_a_result_that_is_awaitable_but_celerys_is_a_value(app: Any) -> None:
    class Odd(EagerResult):
        def __await__(self) -> Any:
            raise AssertionError

    value = Odd("id", 1, "SUCCESS")

    @app.task
    def gives() -> Any:
        return value

    assert (await gives.aapply()).result is value


async def test_a_custom_call_and_hooks(app: Any) -> None:
    seen: list[Any] = []

    class Base(Task):
        abstract = True

        def on_success(self, retval: Any, *args: Any) -> None:
            seen.append(retval)

    assert (await double(app, base=Base).aapply((3,))).get() == 6
    assert seen == [6]


async def test_cancelling_aapply_cancels_the_body(app: Any) -> None:
    steps: list[str] = []
    began = asyncio.Event()

    @app.task
    async def long() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            steps.append("unwound")

    running = asyncio.ensure_future(long.aapply())
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert steps == ["unwound"]
    assert (await double(app).aapply((1,))).get() == 2


async def test_a_stored_eager_result(unique: str) -> None:
    app = memory_app(unique, task_always_eager=True, task_store_eager_result=True)
    result = await double(app).adelay(2)
    assert app.backend.get_task_meta(result.id)["result"] == 4


async def test_a_sync_body_may_apply_an_async_task(app: Any) -> None:
    task = double(app)

    @app.task
    def outer() -> Any:
        return task.apply((4,)).get(disable_sync_subtasks=False)

    assert (await outer.aapply()).get() == 8


async def test_apply_in_a_trampoline(app: Any) -> None:
    task = double(app)
    assert (await spawn(lambda: task.apply((2,)))).get() == 4


def test_restore_leaves_nothing(app: Any) -> None:
    task = double(app)

    @app.task(name="auto", autoretry_for=(KeyError,))
    def auto() -> None: ...

    before = dict(vars(task)), dict(vars(app.tasks["auto"]))
    assert ensure_body(task)
    assert ensure_body(auto)
    assert not ensure_body(task)
    assert not ensure_body(auto)
    restore_bodies()
    assert (dict(vars(task)), dict(vars(app.tasks["auto"]))) == before


def test_wrapped_tasks_can_be_collected() -> None:
    class Short(Task):
        name = "short"

        def run(self) -> None: ...

    task = Short()
    ensure_body(task)
    ref = weakref.ref(task)
    del task
    gc.collect()
    assert ref() is None


async def test_the_async_tracer_returns_what_upstreams_does(
    app: Any, unique: str
) -> None:
    task = double(app)
    tracer = trace.build_async_tracer(task.name, task, app=app)
    done = await tracer(unique, (2,), {}, {"id": unique})
    assert (done.retval, done.info) == (4, None)
    assert app.backend.get_task_meta(unique)["result"] == 4
    failed = await tracer("other", (None,), {}, {"id": "other"})
    assert failed.info.state == "FAILURE"


async def test_atrace_task(app: Any, unique: str) -> None:
    task = double(app)
    one, two, three = (f"{unique}.{i}" for i in range(3))
    for name, traced in (
        (one, trace.atrace_task(task, one, (2,), {}, {"id": one}, app=app)),
        (
            two,
            trace.atrace_task_ret(
                task.name, two, {"id": two}, ((2,), {}, {}), None, None, app=app
            ),
        ),
        (
            three,
            trace.afast_trace_task(
                task.name,
                three,
                {"id": three},
                ((2,), {}, {}),
                None,
                None,
                _loc=[app.tasks, {"json"}, "here"],
            ),
        ),
    ):
        await traced
        assert app.backend.get_task_meta(name)["result"] == 4


async def test_ahandle_failure_stores_it(app: Any, unique: str) -> None:
    task = double(app)
    error = KeyError("no")
    request = trace.Context(id=unique, errbacks=None)
    try:
        raise error
    except KeyError as exc:
        info = trace.TraceInfo("FAILURE", exc)
        einfo = await info.ahandle_error_state(task, request)
    assert einfo.type is KeyError
    assert app.backend.get_task_meta(unique)["status"] == "FAILURE"


async def test_ahandle_retry_knows_the_exception(app: Any, unique: str) -> None:
    from celery.exceptions import Retry

    task = double(app)
    request = trace.Context(id=unique, errbacks=None)
    try:
        raise Retry(exc=ValueError("why"))
    except Retry as exc:
        einfo = await trace.TraceInfo("RETRY", exc).ahandle_retry(task, request)
    assert einfo.type is Retry
    assert "raise Retry" in einfo.traceback
    assert app.backend.get_task_meta(unique)["status"] == "RETRY"
