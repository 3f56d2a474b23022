"""Async tasks that upstream calls like functions: error callbacks, maps."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celery_async_bridge import embedded_worker
from tests.unit._memory import memory_app


@pytest.fixture
def app(unique: str) -> Any:
    app = memory_app(unique)
    app.told = asyncio.Queue()

    @app.task(name="fails")
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("boo")

    @app.task(name="sync fails")
    def sync_fails() -> None:
        raise ValueError("boo")

    return app


def callbacks(app: Any) -> Any:
    loop = asyncio.get_running_loop()

    def tell(*what: Any) -> None:
        loop.call_soon_threadsafe(app.told.put_nowait, what)

    @app.task(name="helper")
    async def helper(text: str) -> str:
        await asyncio.sleep(0)
        return text.upper()

    @app.task(name="with three")
    async def three(request: Any, exc: Any, traceback: Any) -> None:
        # Called like a function by a body, it is a coroutine function as ever.
        tell("three", request.id, await helper(str(exc)), traceback is not None)

    @app.task(name="with one")
    async def one(task_id: str) -> None:
        await asyncio.sleep(0)
        tell("one", task_id)

    @app.task(name="broken")
    async def broken(request: Any, exc: Any, traceback: Any) -> None:
        tell("broken")
        raise KeyError("no")

    return three, one, broken


@pytest.mark.parametrize("name", ["fails", "sync fails"])
async def test_they_are_awaited(app: Any, name: str) -> None:
    three, one, broken = callbacks(app)
    async with embedded_worker(app):
        errbacks = [broken.s(), three.s(), one.s()]
        sent = await app.tasks[name].aapply_async(link_error=errbacks)
        told = [await asyncio.wait_for(app.told.get(), 60) for _ in errbacks]
    assert told == [("broken",), ("three", sent.id, "BOO", True), ("one", sent.id)]


async def test_in_eager_mode(app: Any) -> None:
    three, *_ = callbacks(app)
    result = await app.tasks["fails"].aapply(link_error=three.s())
    told = await asyncio.wait_for(app.told.get(), 60)
    assert told == ("three", result.id, "BOO", True)


@pytest.mark.parametrize("eager", [False, True])
async def test_maps(app: Any, eager: bool) -> None:
    app.conf.task_always_eager = eager

    @app.task(name="adds")
    async def adds(x: int, y: int = 1) -> int:
        await asyncio.sleep(0)
        return x + y

    async with embedded_worker(app):
        for signature, values in (
            (adds.map([1, 2, 3]), [2, 3, 4]),
            (adds.starmap([(1, 2), (3, 4)]), [3, 7]),
        ):
            result = await signature.aapply_async()
            assert await result.aget(timeout=60) == values
