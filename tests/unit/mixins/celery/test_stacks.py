# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import contextvars
import random
import threading
from typing import Any

import pytest
from celery import _state, current_app, current_task
from celery._state import get_current_worker_task
from celery.result import allow_join_result, denied_join_result

from celery_async_bridge.core.carry import capture
from celery_async_bridge.core.offload import offload
from celery_async_bridge.core.route import Route
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.mixins.celery._stacks import carrier, isolated
from tests.unit._memory import memory_app

pytestmark = pytest.mark.usefixtures("native")

HERE = Route(endpoints=())


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


@pytest.fixture
def task(app: Any) -> Any:
    @app.task(name="t")
    def t() -> None: ...

    return app.tasks["t"]


def enter(task: Any, **request: Any) -> None:
    """Push as upstream's tracer does."""
    _state.push_current_task(task)
    task.push_request(called_directly=False, **request)


def leave(task: Any) -> None:
    task.pop_request()
    _state.pop_current_task()


def seen() -> tuple[Any, ...]:
    worker_task = get_current_worker_task()
    return (
        current_task.request.id if _state.get_current_task() else None,
        worker_task.request.id if worker_task else None,
        len(_state._task_stack),
    )


def leaked() -> dict[Any, Any]:
    return {k: v for k, v in _state._task_stack._local.__storage__.items() if v}


def test_nothing_is_carried_for_nothing() -> None:
    assert carrier() is None

    def call() -> None: ...

    assert capture(call) is call


@pytest.mark.parametrize("tier", ["thread", "trampoline"])
async def test_a_call_takes_the_stacks_along(task: Any, tier: str) -> None:
    before = leaked()
    enter(task, id="outer")
    enter(task, id="inner")
    try:
        if tier == "thread":
            found = await offload(HERE, seen)
        else:
            found = await spawn(capture(seen))
        assert found == ("inner", "inner", 2) == seen()
    finally:
        leave(task)
        leave(task)
    assert leaked() == before


async def test_children_land_in_the_request_of_the_caller(task: Any) -> None:
    enter(task, id="parent", children=[])
    try:
        request = task.request_stack.top
        result = await offload(HERE, task.delay)
        assert [child.id for child in request.children] == [result.id]
    finally:
        leave(task)


async def test_what_fails_elsewhere_leaks_nothing(task: Any) -> None:
    before = leaked()
    enter(task, id="a")

    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await offload(HERE, fail)
    with pytest.raises(KeyError):
        await spawn(capture(fail))
    leave(task)
    assert leaked() == before


async def test_a_thousand_coroutines_do_not_mix(task: Any) -> None:
    before = leaked()
    wrong: list[Any] = []

    async def inner(name: str, depth: int) -> None:
        with isolated():
            enter(task, id=name)
            try:
                for _ in range(3):
                    await asyncio.sleep(random.random() / 50)
                    if seen() != (name, name, depth):
                        wrong.append((name, seen()))
            finally:
                leave(task)

    async def body(name: str) -> None:
        with isolated(fresh=True):
            enter(task, id=name)
            try:
                await asyncio.gather(*(inner(f"{name}.{i}", 2) for i in range(3)))
                if seen() != (name, name, 1):
                    wrong.append((name, seen()))
            finally:
                leave(task)
            assert seen() == (None, None, 0)

    await asyncio.gather(*(body(str(i)) for i in range(1000)))
    assert wrong == []
    assert leaked() == before


async def test_methods_bound_before_the_install_are_isolated_too(task: Any) -> None:
    push, pop = _state.push_current_task, _state.pop_current_task
    with isolated(fresh=True):
        push(task)
        assert _state._task_stack.stack == [task]
        assert contextvars.copy_context().run(pop) is task
        assert _state.get_current_task() is task
        assert pop() is task
        assert pop() is None
    assert _state.get_current_task() is None


async def test_an_isolated_block_starts_with_the_stacks_of_its_caller(
    task: Any,
) -> None:
    enter(task, id="caller")
    try:
        with isolated():
            assert seen() == ("caller", "caller", 1)
            enter(task, id="block")
            assert seen() == ("block", "block", 2)
            leave(task)
        with isolated(fresh=True):
            assert seen() == (None, None, 0)
        assert seen() == ("caller", "caller", 1)
    finally:
        leave(task)


async def test_threads_of_an_isolated_block_see_its_stacks(task: Any) -> None:
    with isolated(fresh=True):
        enter(task, id="a")
        assert await offload(HERE, seen) == ("a", "a", 1)
        assert await asyncio.to_thread(seen) == ("a", "a", 1)
        leave(task)


def test_other_threads_keep_stacks_of_their_own(task: Any) -> None:
    found: list[Any] = []
    with isolated(fresh=True):
        enter(task, id="a")
        thread = threading.Thread(
            target=contextvars.Context().run, args=(lambda: found.append(seen()),)
        )
        thread.start()
        thread.join()
        leave(task)
    assert found == [(None, None, 0)]


async def test_the_join_flag_of_overlapping_blocks() -> None:
    steps: list[bool] = []

    async def denied(first: asyncio.Event, second: asyncio.Event) -> None:
        with isolated(), denied_join_result():
            first.set()
            await second.wait()
            steps.append(_state.task_join_will_block())

    async def allowed(first: asyncio.Event, second: asyncio.Event) -> None:
        await first.wait()
        with isolated(join_blocks=True):
            with allow_join_result():
                steps.append(_state.task_join_will_block())
                second.set()
                await asyncio.sleep(0.01)
            steps.append(_state.task_join_will_block())

    events = asyncio.Event(), asyncio.Event()
    await asyncio.gather(denied(*events), allowed(*events))
    assert steps == [False, True, True]
    assert _state._task_join_will_block is False


def test_the_join_flag_outside_is_upstreams() -> None:
    with denied_join_result():
        assert _state._task_join_will_block is True
        assert _state.task_join_will_block()
    assert _state._task_join_will_block is False


async def test_current_app_is_that_of_the_block(app: Any) -> None:
    outside = current_app._get_current_object()
    with isolated(app=app):
        assert current_app._get_current_object() is app
        assert await offload(HERE, current_app._get_current_object) is app
    assert current_app._get_current_object() is outside
