from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from celery_async_bridge.core.conversation import (
    SLICE,
    Conversation,
    Interrupted,
    current_conversation,
)
from celery_async_bridge.core.turn import Turn
from tests.unit.core.help import until


class Nothing(Exception):
    pass


@pytest.fixture
def turn() -> Iterator[Turn]:
    turn = Turn()
    yield turn
    assert turn.acquire_blocking(unless=_set()), "the turn was not given back"


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def nothing(seconds: float) -> None:
    time.sleep(seconds)
    raise Nothing


def test_a_wait_returns_what_came() -> None:
    answers = iter([Nothing, Nothing, 3])

    def wait(seconds: float) -> int:
        assert 0 < seconds <= SLICE
        answer = next(answers)
        if answer is Nothing:
            nothing(seconds)
        assert isinstance(answer, int)
        return answer

    talk = Conversation()
    assert talk.sliced(wait, None, Nothing) == 3
    assert talk.waits


def test_a_wait_lasts_as_long_as_it_should() -> None:
    began = time.monotonic()
    with pytest.raises(Nothing):
        Conversation().sliced(nothing, 0.25, Nothing)
    assert 0.25 <= time.monotonic() - began < 15


@pytest.mark.parametrize("timeout", [0, 0.0, -1])
def test_no_time_is_one_look(timeout: float) -> None:
    looks: list[float] = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        raise Nothing

    with pytest.raises(Nothing):
        Conversation().sliced(wait, timeout, Nothing)
    assert looks == [0.0]


def test_other_errors_pass_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        Conversation().sliced(lambda seconds: 1 / 0, None, Nothing)


def test_a_timeout_of_the_callback_is_not_taken_for_nothing() -> None:
    def deliver(seconds: float) -> None:
        raise TimeoutError("of the user's own")

    with pytest.raises(TimeoutError, match="own"):
        Conversation().sliced(deliver, 5, TimeoutError)


def test_leaving_ends_a_wait_and_a_sleep() -> None:
    calls: tuple[Callable[[Conversation], None], ...] = (
        lambda talk: talk.sliced(nothing, None, Nothing),
        lambda talk: talk.sleep(60),
    )
    for call in calls:
        talk = Conversation()
        timer = threading.Timer(0.05, talk.leave)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            call(talk)
        assert time.monotonic() - began < 30
        timer.join()
        assert talk.left
        with pytest.raises(Interrupted):
            talk.check()


def test_interrupted_is_no_exception_that_user_code_catches() -> None:
    assert not issubclass(Interrupted, Exception)


def test_landing_and_leaving_know_of_each_other() -> None:
    first, second = Conversation(), Conversation()
    assert first.land()
    assert first.leave() is True
    assert second.leave() is False
    assert second.land() is False


async def test_a_lent_turn_goes_round_between_slices(turn: Turn) -> None:
    talk = Conversation(turn, lends=True)

    def converse() -> None:
        with talk.taking_turn():
            try:
                talk.sliced(nothing, None, Nothing)
            finally:
                # It unwinds with the turn in its hands.
                assert not turn.wanted
                assert turn._held

    thread = threading.Thread(target=_swallow, args=(converse,))
    thread.start()
    await until(lambda: talk.waits)
    for _ in range(3):
        await turn.acquire(timeout=20)
        turn.release()
    talk.leave()
    await until(lambda: not thread.is_alive())


def _swallow(fn: Callable[[], None]) -> None:
    with pytest.raises(Interrupted):
        fn()


async def test_a_sleep_gives_up_a_lent_turn_only(turn: Turn) -> None:
    lending, keeping = Conversation(turn, lends=True), Conversation(turn)

    def sleep(talk: Conversation) -> None:
        with talk.taking_turn():
            talk.sleep(60)

    thread = threading.Thread(target=_swallow, args=(lambda: sleep(lending),))
    thread.start()
    await until(lambda: lending.waits)
    await turn.acquire(timeout=20)
    turn.release()
    lending.leave()
    await until(lambda: not thread.is_alive())

    thread = threading.Thread(target=_swallow, args=(lambda: sleep(keeping),))
    thread.start()
    await until(lambda: keeping.waits)
    with pytest.raises(TimeoutError):
        await turn.acquire(timeout=0.05)
    keeping.leave()
    await until(lambda: not thread.is_alive())


def test_waiting_for_ones_turn_ends_when_the_caller_leaves(turn: Turn) -> None:
    assert turn.acquire_blocking()
    talk = Conversation(turn)
    threading.Timer(0.05, talk.leave).start()
    with pytest.raises(Interrupted), talk.taking_turn():
        pytest.fail("it had no turn")
    turn.release()


def test_what_is_waited_on_is_taken_for_the_slice(turn: Turn) -> None:
    talk = Conversation()
    held: list[bool] = []

    def wait(seconds: float) -> None:
        held.append(turn._held)

    talk.sliced(wait, None, Nothing, turn)
    assert held == [True]
    assert not turn._held


def test_the_turn_that_is_held_anyway_is_not_taken_twice(turn: Turn) -> None:
    talk = Conversation(turn)
    with talk.taking_turn():
        assert talk.sliced(lambda seconds: 3, 1, Nothing, turn) == 3
        assert turn._held


async def test_a_coroutine_may_use_what_the_thread_holds(turn: Turn) -> None:
    """An async callback acknowledges on the connection that delivers to it."""
    other = Turn()
    talk = Conversation(turn, lends=True)
    loop = asyncio.get_running_loop()

    async def callback() -> int:
        for one in (turn, other):
            await one.acquire(timeout=20)
            one.release()
        return 7

    def deliver(seconds: float) -> int:
        return talk.wait(asyncio.run_coroutine_threadsafe(callback(), loop))

    got: list[int] = []

    def converse() -> None:
        with talk.taking_turn():
            got.append(talk.sliced(deliver, None, Nothing, other))

    thread = threading.Thread(target=converse)
    thread.start()
    await until(lambda: not thread.is_alive())
    assert got == [7]
    assert not other._held


async def test_leaving_cancels_the_coroutine(turn: Turn) -> None:
    talk = Conversation(turn)
    loop = asyncio.get_running_loop()
    ended: list[bool] = []

    async def callback() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    def converse() -> None:
        with talk.taking_turn():
            talk.wait(asyncio.run_coroutine_threadsafe(callback(), loop))

    thread = threading.Thread(target=_swallow, args=(converse,))
    thread.start()
    await until(lambda: talk.waits)
    talk.leave()
    await until(lambda: ended and not thread.is_alive())


def test_the_running_conversation_is_known() -> None:
    outer, inner = Conversation(), Conversation()
    assert current_conversation() is None
    with outer.entered():
        with inner.entered():
            assert current_conversation() is inner
        assert current_conversation() is outer
    assert current_conversation() is None
