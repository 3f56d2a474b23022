from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from celery_async_bridge.core.burst import (
    Burst,
    Posting,
    burst_here,
    bursting,
    undisturbed,
)
from celery_async_bridge.core.trampoline import await_, spawn


class Reply:
    """What a driver owes."""

    def __init__(self, failed: bool | None, log: list[str], name: str) -> None:
        self.failed = failed
        self.log = log
        self.name = name

    def read(self) -> None:
        self.log.append(f"read {self.name}")
        if self.failed:
            raise ConnectionError(self.name)
        self.failed = False

    def leave(self) -> None:
        if self.failed is None:
            self.log.append(f"leave {self.name}")


class Stage:
    """Posts messages and notes what becomes of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.final: BaseException | None = None

    def post(self, name: str, failed: bool | None = None) -> Reply:
        burst = burst_here()
        assert burst is not None
        reply = Reply(failed, self.log, name)

        def again(failure: BaseException) -> None:
            self.log.append(f"again {name} after {failure}")
            if self.final is not None:
                raise self.final

        posting = Posting(again)

        def publish() -> None:
            assert burst.posting is posting
            self.log.append(f"write {name}")
            posting.replies.append(reply)

        burst.post(posting, publish)
        return reply


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def run(fn: Callable[[], Any], starts: int = 100) -> Any:
    return await spawn(bursting(fn, starts))


async def test_replies_are_read_at_the_end(stage: Stage) -> None:
    def work() -> str:
        stage.post("a")
        stage.post("b")
        return "done"

    assert await run(work) == "done"
    assert stage.log == ["write a", "write b", "read a", "read b"]


async def test_what_is_confirmed_is_forgotten_on_the_way(stage: Stage) -> None:
    owed = []

    def work() -> None:
        burst = burst_here()
        assert burst is not None
        for n in range(5):
            stage.post(str(n), failed=False)
            owed.append(burst.owes)

    await run(work)
    assert owed == [1] * 5


async def test_a_failure_is_mended_before_more_leaves(stage: Stage) -> None:
    def work() -> None:
        first = stage.post("a")
        stage.post("b")
        first.failed = True
        stage.post("c")

    await run(work)
    assert stage.log == [
        "write a",
        "write b",
        "read a",
        "again a after a",
        "read b",
        "write c",
        "read c",
    ]


async def test_the_first_that_fails_for_good_ends_it(stage: Stage) -> None:
    stage.final = ValueError("for good")

    def work() -> None:
        stage.post("a", failed=False)
        stage.post("b", failed=True)
        stage.post("c")

    with pytest.raises(ValueError, match="for good"):
        await run(work)
    assert stage.log == ["write a", "write b", "read b", "again b after b"]


async def test_a_failure_that_somebody_swallows_is_raised(stage: Stage) -> None:
    stage.final = ValueError("for good")

    def work() -> None:
        stage.post("a", failed=True)
        with pytest.raises(ValueError, match="for good"):
            stage.post("b")

    with pytest.raises(ValueError, match="for good"):
        await run(work)


async def test_an_earlier_failure_replaces_a_later_error(stage: Stage) -> None:
    stage.final = ValueError("for good")

    def work() -> None:
        stage.post("a", failed=True)
        raise TypeError("a bug")

    with pytest.raises(ValueError, match="for good") as raised:
        await run(work)
    assert isinstance(raised.value.__context__, ConnectionError | TypeError)


async def test_an_error_of_the_call_is_raised_when_all_is_read(stage: Stage) -> None:
    def work() -> None:
        stage.post("a")
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        await run(work)
    assert stage.log == ["write a", "read a"]


async def test_cancelled_it_leaves_its_replies(stage: Stage) -> None:
    waits = asyncio.Event()

    def work() -> None:
        stage.post("a")
        waits.set()
        await_(asyncio.Event().wait())

    task = asyncio.ensure_future(run(work))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.log == ["write a", "leave a"]


async def test_a_message_that_cannot_be_published_leaves_its_replies(
    stage: Stage,
) -> None:
    def work() -> None:
        burst = burst_here()
        assert burst is not None
        posting = Posting(lambda failure: None)

        def publish() -> None:
            posting.replies.append(Reply(None, stage.log, "a"))
            raise ValueError("cannot")

        burst.post(posting, publish)

    with pytest.raises(ValueError, match="cannot"):
        await run(work)
    assert stage.log == ["leave a"]


async def test_the_loop_keeps_turning(stage: Stage) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.ensure_future(tick())
    await run(lambda: [stage.post(str(n)) for n in range(100)] and None, starts=4)
    ticker.cancel()
    assert ticks >= 100 / 4


async def test_tasks_that_a_call_starts_are_not_of_its_burst() -> None:
    def inner() -> Burst | None:
        return burst_here()

    def work() -> tuple[Any, Any, Any]:
        task = asyncio.ensure_future(spawn(inner))
        nested = await_(spawn(inner))
        return burst_here(), nested, await_(task)

    own, nested, started = await run(work)
    assert own is not None
    assert nested is None
    assert started is None


async def test_where_it_does_not_run_in_a_trampoline_there_is_none() -> None:
    assert bursting(burst_here, 1)() is None


async def test_code_that_is_not_upstreams_disturbs() -> None:
    def ours() -> bool:
        return undisturbed()

    assert await run(undisturbed)
    assert not await run(ours)
    assert not undisturbed()
