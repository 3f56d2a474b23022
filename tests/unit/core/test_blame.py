"""Whose line a warning names that was meant for the caller."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from celery_async_bridge.core import blame
from celery_async_bridge.core.blame import blaming
from celery_async_bridge.core.trampoline import Hand, frames, spawn


def _warn() -> str:
    warnings.warn("told", UserWarning, stacklevel=2)
    return "value"


def _line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_sync_caller() -> None:
    with pytest.warns(UserWarning, match="told") as found:
        value, line = blaming(_warn), _line()
    assert value == "value"
    assert [(one.filename, one.lineno) for one in found] == [(__file__, line)]


def _spawned(fn: Callable[[], Any]) -> Any:
    return spawn(fn)


def _by_hand(fn: Callable[[], Any]) -> Any:
    return Hand().run(fn)


@pytest.mark.parametrize("run", [_spawned, _by_hand])
async def test_whoever_awaits_a_trampoline(run: Callable[..., Any]) -> None:
    async def call() -> tuple[int, Any]:
        awaitable = run(partial(blaming, _warn))
        return _line(), await awaitable

    with pytest.warns(UserWarning, match="told") as found:
        line, value = await call()
    assert value == "value"
    assert [(one.filename, one.lineno) for one in found] == [(__file__, line)]


async def test_frames_go_on_behind_the_greenlet() -> None:
    def names() -> list[str]:
        return [frame.f_code.co_name for frame in frames()]

    async def awaits() -> list[str]:
        return await spawn(names)

    found = await awaits()
    assert found.index("names") < found.index("spawn") < found.index("awaits")


def test_where_nobody_is_outside_the_call_is_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blame, "_INSIDE", ("",))
    with pytest.warns(UserWarning, match="told"):
        assert blaming(_warn) == "value"


def test_what_the_call_raises_is_raised() -> None:
    def fails() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        blaming(fails)


def test_a_task_of_its_own_blames_who_runs_the_loop() -> None:
    async def main() -> None:
        await asyncio.create_task(spawn(partial(blaming, _warn)))

    line = _line() + 3

    with pytest.warns(UserWarning, match="told") as found:
        asyncio.run(main())
    assert [(one.filename, one.lineno) for one in found] == [(__file__, line)]
