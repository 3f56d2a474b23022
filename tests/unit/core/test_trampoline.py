from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from celery_async_bridge.core.trampoline import (
    Hand,
    await_,
    current_call,
    in_trampoline,
    spawn,
)

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


async def test_sync_code_awaits_on_its_own_thread() -> None:
    def sync() -> tuple[int, int]:
        assert in_trampoline()
        asyncio.get_running_loop()
        return await_(asyncio.sleep(0, 3)), threading.get_ident()

    assert await spawn(sync) == (3, threading.get_ident())
    assert not in_trampoline()


async def test_without_a_wait_it_is_a_plain_call() -> None:
    assert await spawn(lambda: 5) == 5
    with pytest.raises(KeyError):
        await spawn(lambda: dict[str, int]()["x"])


async def test_exceptions_pass_in_both_directions() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("inner")

    def sync() -> str:
        with pytest.raises(KeyError, match="inner"):
            await_(fail())
        raise ValueError("outer")

    with pytest.raises(ValueError, match="outer"):
        await spawn(sync)


async def test_context_variables_are_shared() -> None:
    async def see() -> str:
        seen = VAR.get()
        VAR.set("by coroutine")
        return seen

    def sync() -> str:
        assert VAR.get() == "by caller"
        VAR.set("by sync")
        assert await_(see()) == "by sync"
        return VAR.get()

    VAR.set("by caller")
    assert await spawn(sync) == "by coroutine"
    assert VAR.get() == "by coroutine"


async def test_a_token_can_be_reset_on_the_other_side() -> None:
    tokens: list[contextvars.Token[str]] = []

    def enter() -> None:
        tokens.append(VAR.set("entered"))
        await_(asyncio.sleep(0))

    await spawn(enter)
    await spawn(lambda: VAR.reset(tokens.pop()))
    assert VAR.get() == "unset"


async def test_cancellation_unwinds_the_sync_code() -> None:
    steps: list[str] = []

    def sync() -> None:
        try:
            await_(asyncio.sleep(10))
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            await_(asyncio.sleep(0))  # it may still wait
            steps.append("finally")

    task = asyncio.ensure_future(spawn(sync))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cancelled", "finally"]


async def test_swallowed_cancellation_goes_on() -> None:
    def sync() -> int:
        with suppress(asyncio.CancelledError):
            await_(asyncio.sleep(10))
        return await_(asyncio.sleep(0, 4))

    task = asyncio.ensure_future(spawn(sync))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await task == 4


def suspended(steps: list[str], *, wait: bool) -> Any:
    def sync() -> None:
        try:
            await_(Forever())
        finally:
            steps.append("finally")
            if wait:
                await_(Forever())

    coro = spawn(sync)
    coro.send(None)
    return coro


class Forever:
    def __await__(self) -> Any:
        while True:
            yield


def test_closing_the_coroutine_unwinds_without_waiting() -> None:
    steps: list[str] = []
    suspended(steps, wait=False).close()
    assert steps == ["finally"]


def test_waiting_while_the_coroutine_closes_is_an_error() -> None:
    steps: list[str] = []
    with pytest.raises(RuntimeError, match="was closed"):
        suspended(steps, wait=True).close()
    assert steps == ["finally"]


async def test_closing_from_within_another_trampoline() -> None:
    """The closer is not the greenlet that started it."""
    steps: list[str] = []
    coro = suspended(steps, wait=False)
    assert await spawn(lambda: coro.close() or in_trampoline()) is True
    assert steps == ["finally"]


async def test_await_outside_closes_what_it_got() -> None:
    closed: list[int] = []

    class Awaitable:
        def __await__(self) -> Any:
            yield

        def close(self) -> None:
            closed.append(1)

    with pytest.raises(RuntimeError, match="spawn"):
        await_(Awaitable())
    assert closed == [1]


async def test_nested() -> None:
    def inner(n: int) -> int:
        return await_(asyncio.sleep(0.001, n)) + 1

    async def between(n: int) -> int:
        return await spawn(lambda: inner(n)) * 10

    def outer() -> list[int]:
        one = await_(between(1))
        async_two = await_(asyncio.gather(between(2), between(3)))
        assert in_trampoline()
        return [one, *async_two]

    assert await spawn(outer) == [20, 30, 40]


async def test_a_thousand_at_once() -> None:
    def sync(number: int) -> int:
        VAR.set(str(number))
        for _ in range(3):
            await_(asyncio.sleep(0))
        assert VAR.get() == str(number)
        return number

    async def one(number: int) -> int:
        return await spawn(lambda: sync(number))

    assert await asyncio.gather(*(one(n) for n in range(1000))) == list(range(1000))


def test_loops_in_several_threads() -> None:
    results: list[int] = []

    async def main(number: int) -> None:
        results.extend(
            [await spawn(lambda: await_(asyncio.sleep(0, number))) for _ in range(20)]
        )

    threads = [threading.Thread(target=asyncio.run, args=(main(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == sorted([0, 1, 2, 3] * 20)


async def test_a_hand_runs_one_call_after_the_other() -> None:
    hand, greenlets = Hand(), set[object]()

    def call(number: int, seconds: float | None = None) -> tuple[int, str]:
        greenlets.add(current_call())
        if seconds is not None:
            await_(asyncio.sleep(seconds))
        VAR.set(f"{VAR.get()}+{number}")
        return number, VAR.get()

    VAR.set("caller")
    assert await hand.run(lambda: call(1)) == (1, "caller+1")
    assert VAR.get() == "caller+1"
    assert await hand.run(lambda: call(2, 0)) == (2, "caller+1+2")
    assert len(greenlets) == 1
    # Those that wait at the same time have each its own.
    both = await asyncio.gather(*(hand.run(partial(call, n, 0.001)) for n in (3, 4)))
    assert [number for number, _ in both] == [3, 4]
    assert len(greenlets) == 2


async def test_a_hand_goes_on_after_what_went_wrong() -> None:
    hand = Hand()

    def fail() -> None:
        raise KeyError("x")

    def wait() -> str:
        try:
            await_(asyncio.sleep(60))
        finally:
            unwound.append(in_trampoline())
        return "never"

    unwound: list[bool] = []
    with pytest.raises(KeyError):
        await hand.run(fail)
    told: list[list[bool]] = []
    task = asyncio.ensure_future(hand.run(wait, lambda: told.append([*unwound])))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == [[]]  # before it unwound
    closed = hand.run(wait)
    closed.send(None)
    closed.close()
    assert unwound == [True, True]
    assert await hand.run(lambda: 5) == 5
