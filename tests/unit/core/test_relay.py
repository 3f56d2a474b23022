from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from celery_async_bridge.core.offload import converse
from celery_async_bridge.core.relay import Relay
from celery_async_bridge.core.route import Endpoint, Route
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.core.turn import turn_of


class _Guard:
    """Something that two threads must not use at once."""


def _route(guard: object | None = None) -> Route:
    return Route(endpoints=(Endpoint("broker", "x", "relay", "x"),), guard=guard)


async def _twice(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


async def _fail() -> None:
    raise KeyError("no")


async def test_a_coroutine_runs_on_the_loop_of_the_caller() -> None:
    relay = Relay()
    here = threading.get_ident()

    async def where() -> int:
        return threading.get_ident()

    def work() -> tuple[int, Any, Any]:
        fn = relay.sync(_twice)
        assert fn.__name__ == "_twice"
        return threading.get_ident(), relay.sync(where)(), fn(2)

    thread, loop_thread, value = await converse(_route(), work)
    assert (loop_thread, value) == (here, 4)
    assert thread != here
    assert await spawn(work) == (here, here, 4)


async def test_what_need_not_be_awaited_passes_through() -> None:
    relay = Relay()
    assert relay.settle(3) == 3
    assert relay.sync(lambda: "x")() == "x"


async def test_exceptions_arrive_where_the_sync_code_waits() -> None:
    relay = Relay()

    def work() -> str:
        try:
            relay.sync(_fail)()
        except KeyError as exc:
            return str(exc)
        return "nothing"

    assert await converse(_route(), work) == await spawn(work) == "'no'"


async def test_the_turn_is_given_up_while_a_coroutine_runs() -> None:
    relay, guard = Relay(), _Guard()

    async def use() -> str:
        await turn_of(guard).acquire(10)
        turn_of(guard).release()
        return "used"

    assert await converse(_route(guard), relay.sync(use)) == "used"
    await turn_of(guard).acquire(1)
    turn_of(guard).release()


async def test_a_cancelled_caller_cancels_the_coroutine() -> None:
    relay = Relay()
    began, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    call = asyncio.ensure_future(converse(_route(), relay.sync(hang)))
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_coroutine_outside_of_a_bridge_call_is_an_error() -> None:
    coroutine = _twice(1)
    with pytest.raises(RuntimeError, match="bridge call"):
        Relay().settle(coroutine)
    coroutine.close()
