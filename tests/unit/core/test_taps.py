from __future__ import annotations

import asyncio

from celery_async_bridge.core.taps import Replay, recorder, replay, retries_uncertain
from celery_async_bridge.core.trampoline import await_, spawn


def test_nothing_is_tapped_unless_somebody_asks() -> None:
    assert recorder.get() is None
    assert replay.get() is None
    assert retries_uncertain.get() is True


def test_a_failure_is_taken_once() -> None:
    failure = ValueError("first")
    one = Replay(failure)
    assert one.take() is failure
    assert one.take() is None
    assert one.take() is None


def test_each_replay_has_its_own() -> None:
    first, second = Replay(ValueError()), Replay(KeyError())
    assert isinstance(second.take(), KeyError)
    assert isinstance(first.take(), ValueError)


async def test_they_reach_what_the_call_runs_and_nothing_else() -> None:
    failure = ValueError("mine")

    def beneath() -> BaseException | None:
        await_(asyncio.sleep(0))
        found = replay.get()
        return None if found is None else found.take()

    async def caller(own: BaseException | None) -> list[BaseException | None]:
        if own is not None:
            replay.set(Replay(own))
        return [await spawn(beneath), await spawn(beneath)]

    found = await asyncio.gather(
        *(asyncio.ensure_future(caller(own)) for own in (None, failure, None))
    )
    # Taken by the first attempt that comes by, of the call that set it.
    assert found == [[None, None], [failure, None], [None, None]]
    assert replay.get() is None
