from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from typing import Any

import pytest

from celery_async_bridge.core.loops import LoopLocal, aclose_loop
from celery_async_bridge.core.trampoline import spawn
from tests.unit.core.help import run, until


class Value:
    pass


async def test_one_value_per_loop() -> None:
    local: LoopLocal[Value] = LoopLocal(Value)
    first = local.get()
    assert local.get() is first
    seen: list[Value] = []

    async def other() -> None:
        seen.append(local.get())
        assert set(map(id, local.peek())) == {id(first), id(seen[0])}

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    await until(lambda: not thread.is_alive())
    assert seen[0] is not first
    assert local.peek() == [first]  # that loop is closed


def test_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        LoopLocal(Value).get()


def test_values_of_dead_loops_go() -> None:
    local: LoopLocal[Value] = LoopLocal(Value)

    async def main() -> None:
        local.get()

    for _ in range(20):
        asyncio.run(main())
    gc.collect()
    assert local.peek() == []
    assert len(local._values) <= 1


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_closing(kind: str) -> None:
    closed: list[Value] = []

    def close(value: Value) -> None:
        closed.append(value)

    async def aclose(value: Value) -> None:
        await asyncio.sleep(0)
        closed.append(value)

    local: LoopLocal[Value] = LoopLocal(Value, close if kind == "sync" else aclose)
    await local.aclose()
    assert closed == []
    first = local.get()
    await aclose_loop()
    assert closed == [first]
    await local.aclose()
    assert closed == [first]
    assert local.get() is not first
    await local.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_and_closes_nothing_of_its_parent() -> None:
    done = run(
        """
import asyncio, os
from celery_async_bridge.core.loops import LoopLocal, aclose_loop
closed = []
local = LoopLocal(object, closed.append)
local._lock.acquire()  # as if another thread were in the middle of it
loop = asyncio.new_event_loop()
local._values[loop] = object()
async def child():
    assert local.peek() == []
    mine = local.get()
    await aclose_loop()
    assert closed == [mine]
pid = os.fork()
if not pid:
    asyncio.run(child())
    os._exit(42)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
local._lock.release()
assert local.peek()
loop.close()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- what a loop holds ends with it ---------------------------------------------------


def test_a_loop_closes_what_it_holds_when_it_ends() -> None:
    closed: list[Value] = []

    async def close(value: Value) -> None:
        await asyncio.sleep(0)
        closed.append(value)

    local: LoopLocal[Value] = LoopLocal(Value, close)
    made: list[Value] = []

    async def main() -> None:
        made.append(local.get())

    for _ in range(20):
        asyncio.run(main())
    assert closed == made
    assert len(set(map(id, made))) == 20


@pytest.mark.parametrize("end", ["raises", "exits", "is cancelled"])
def test_it_does_so_however_it_ends(end: str) -> None:
    closed: list[Value] = []
    local: LoopLocal[Value] = LoopLocal(Value, closed.append)

    async def main() -> None:
        local.get()
        if end == "raises":
            raise KeyError
        if end == "exits":
            raise SystemExit
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    with pytest.raises((KeyError, SystemExit, asyncio.CancelledError)):
        asyncio.run(main())
    assert len(closed) == 1


async def test_nothing_shows_among_the_tasks() -> None:
    local: LoopLocal[Value] = LoopLocal(Value, lambda value: None)
    local.get()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_after_closing_by_hand_it_is_done_again_for_what_came_later() -> None:
    closed: list[Value] = []
    local: LoopLocal[Value] = LoopLocal(Value, closed.append)
    made: list[Value] = []

    async def main() -> None:
        made.append(local.get())
        await aclose_loop()
        assert closed == made
        made.append(local.get())

    asyncio.run(main())
    assert closed == made
    assert len(made) == 2


def test_one_that_cannot_be_closed_does_not_keep_the_others() -> None:
    closed: list[Value] = []

    def fail(value: Value) -> None:
        raise ValueError("no")

    locals_: list[LoopLocal[Value]] = [
        LoopLocal(Value, close) for close in (closed.append, fail) * 5
    ]
    reported: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        for local in locals_:
            local.get()

    asyncio.run(main())
    assert len(closed) == 5
    assert [type(context["exception"]) for context in reported] == [ValueError]


def test_loops_that_nobody_tidies_are_not_kept() -> None:
    """Servers may close a loop without ending its generators."""
    local: LoopLocal[Value] = LoopLocal(Value, lambda value: None)
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        local.get()

    for _ in range(5):
        loop = asyncio.new_event_loop()
        loops.append(weakref.ref(loop))
        loop.run_until_complete(main())
        loop.close()
        del loop
    asyncio.run(main())  # whoever comes next sweeps
    gc.collect()
    assert [one for one in loops if one() is not None] == []


async def test_a_value_made_in_a_trampoline_ends_with_the_loop_too() -> None:
    closed: list[Value] = []
    local: LoopLocal[Value] = LoopLocal(Value, closed.append)

    async def main() -> None:
        await spawn(local.get)

    await asyncio.to_thread(asyncio.run, main())
    assert len(closed) == 1


async def test_what_is_opened_after_a_close_stays_open() -> None:
    closed: list[object] = []
    local = LoopLocal(object, closed.append)
    for number in range(1, 4):
        local.get()
        await aclose_loop()
        assert len(closed) == number
        found = local.get()
        gc.collect()
        for _ in range(20):
            await asyncio.sleep(0)
        assert local.get() is found
        assert len(closed) == number
        await local.aclose()
        closed.pop()


def test_what_is_opened_after_a_close_is_closed_with_the_loop() -> None:
    closed: list[object] = []
    local = LoopLocal(object, closed.append)

    async def main() -> None:
        local.get()
        await aclose_loop()
        local.get()

    for number in range(1, 4):
        asyncio.run(main())
        assert len(closed) == 2 * number
