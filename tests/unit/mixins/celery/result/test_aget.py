"""`AsyncResult.aget` against its sync twin, on backends that store results."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import ImproperlyConfigured, TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from tests.unit.mixins.celery._results import QUIET, Writer, aoutcome, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

pytestmark = QUIET

OUTCOMES = [
    pytest.param(42, "SUCCESS", id="value"),
    pytest.param(None, "SUCCESS", id="none"),
    pytest.param(ValueError("wrong"), "FAILURE", id="error"),
    pytest.param(TaskRevokedError("revoked"), "REVOKED", id="revoked"),
]


@pytest.mark.parametrize(("value", "state"), OUTCOMES)
async def test_it_ends_like_get(
    app: Celery, writer: Writer, value: Any, state: str
) -> None:
    ours: Any = app.AsyncResult(uuid())
    writer.later(ours.id, value, state)
    found = await aoutcome(ours.aget(timeout=30))
    assert found == outcome(lambda: app.AsyncResult(ours.id).get(timeout=30))
    assert ours.state == state


@pytest.mark.parametrize(("value", "state"), OUTCOMES)
async def test_propagate_false_returns_the_exception(
    app: Celery, writer: Writer, value: Any, state: str
) -> None:
    ours: Any = app.AsyncResult(uuid())
    writer.later(ours.id, value, state)
    kind, found = await aoutcome(ours.aget(timeout=30, propagate=False))
    theirs = app.AsyncResult(ours.id).get(timeout=30, propagate=False)
    assert (kind, type(found), str(found)) == ("value", type(theirs), str(theirs))


async def test_unready_states_do_not_end_it(app: Celery, writer: Writer) -> None:
    result: Any = app.AsyncResult(uuid())
    writer.series(
        [
            (0.05, result.id, None, "STARTED"),
            (0.1, result.id, ValueError("again"), "RETRY"),
            (0.1, result.id, {"done": 1}, "PROGRESS"),
            (0.1, result.id, "end", "SUCCESS"),
        ]
    )
    assert await result.aget(timeout=30) == "end"


@pytest.mark.parametrize("timeout", [0, 0.3])
async def test_its_timeout_is_that_of_get(app: Celery, timeout: float) -> None:
    result: Any = app.AsyncResult(uuid())
    # Before 5.7, zero made upstream wait for ever.
    theirs = outcome(lambda: app.AsyncResult(result.id).get(timeout=timeout or 0.1))
    started = time.monotonic()
    assert await aoutcome(result.aget(timeout=timeout)) == theirs
    assert theirs[1][0] is CeleryTimeoutError
    assert timeout <= time.monotonic() - started + 0.01 < timeout + 30


async def test_what_was_forgotten_is_not_given_again(app: Celery) -> None:
    """Celery 5.6 does, on Redis: its `get()` keeps a copy of what it finds stored.

    Of what is pushed it keeps none, and 5.7 keeps none at all.
    """
    result: Any = app.AsyncResult(uuid())
    await result.backend.astore_result(result.id, 5, "SUCCESS")
    assert await result.aget(timeout=30) == 5
    assert await result.aget(timeout=30) == 5
    await result.aforget()
    with pytest.raises(CeleryTimeoutError):
        await app.AsyncResult(result.id).aget(timeout=0.1)  # type: ignore[attr-defined]
    if result.backend.is_async:  # then the object has been told, and waits no more
        assert await result.aget(timeout=0.1) is None


async def test_a_stored_result_beats_a_timeout_of_zero(app: Celery) -> None:
    result: Any = app.AsyncResult(uuid())
    await result.backend.astore_result(result.id, "there", "SUCCESS")
    assert await result.aget(timeout=0) == "there"


async def test_callbacks_are_called(app: Celery, writer: Writer) -> None:
    result: Any = app.AsyncResult(uuid())
    got: list[Any] = []
    rounds: list[int] = []

    def on_interval() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            writer.later(result.id, 1)

    started = time.monotonic()
    value = await result.aget(
        timeout=30,
        interval=0.05,
        callback=lambda *pair: got.append(pair),
        on_interval=on_interval,
    )
    assert value == 1
    assert got == [(result.id, 1)]
    assert 3 <= len(rounds) <= (time.monotonic() - started) / 0.05 + 2


async def test_a_kept_result_needs_no_backend(app: Celery, writer: Writer) -> None:
    result: Any = app.AsyncResult(uuid())
    writer.later(result.id, 5, delay=0)
    await result.aget(timeout=30)
    await result.backend.aforget(result.id)
    got: list[Any] = []
    assert await result.aget(timeout=0, callback=lambda *pair: got.append(pair)) == 5
    assert got == [(result.id, 5)]


async def test_a_forgotten_result_is_waited_for_again(
    app: Celery, writer: Writer
) -> None:
    result: Any = app.AsyncResult(uuid())
    writer.later(result.id, 5, delay=0)
    await result.aget(timeout=30)
    await result.aforget()
    with pytest.raises(CeleryTimeoutError):
        await app.AsyncResult(result.id).aget(timeout=0.2)  # type: ignore[attr-defined]


async def test_an_ignored_result_is_none_at_once(app: Celery) -> None:
    result: Any = app.AsyncResult(uuid())
    result.ignored = True
    assert await result.aget() is None


async def test_it_refuses_to_wait_inside_a_blocking_task(app: Celery) -> None:
    from celery.result import denied_join_result

    result: Any = app.AsyncResult(uuid())
    with denied_join_result():
        with pytest.raises(RuntimeError, match=r"Never call result\.get"):
            await result.aget(timeout=1)
        with pytest.raises(CeleryTimeoutError):
            await result.aget(timeout=0, disable_sync_subtasks=False)


async def test_a_failed_parent_is_raised_at_once(app: Celery) -> None:
    parent: Any = app.AsyncResult(uuid())
    child: Any = app.AsyncResult(uuid(), parent=parent)
    await parent.backend.astore_result(parent.id, KeyError("p"), "FAILURE")
    with pytest.raises(KeyError):
        await child.aget(timeout=30)
    with pytest.raises(CeleryTimeoutError):
        await child.aget(timeout=0.1, follow_parents=False)


async def test_a_parent_that_fails_meanwhile_ends_the_wait(
    app: Celery, writer: Writer
) -> None:
    first: Any = app.AsyncResult(uuid())
    middle: Any = app.AsyncResult(uuid(), parent=first)
    last: Any = app.AsyncResult(uuid(), parent=middle)
    writer.series(
        [(0.1, first.id, 1, "SUCCESS"), (0.1, middle.id, KeyError(), "FAILURE")]
    )
    with pytest.raises(KeyError):
        await last.aget(timeout=30)


async def test_on_message_needs_a_backend_that_pushes(
    app: Celery, writer: Writer
) -> None:
    result: Any = app.AsyncResult(uuid())
    seen: asyncio.Queue[Any] = asyncio.Queue()
    backend: Any = app.backend
    if not backend.is_async:
        with pytest.raises(ImproperlyConfigured):
            await result.aget(timeout=1, on_message=seen.put_nowait)
        return
    wait = asyncio.ensure_future(
        result.aget(timeout=60, interval=0.02, on_message=seen.put_nowait)
    )
    first = asyncio.ensure_future(seen.get())
    while not (first.done() or wait.done()):
        # Again: a message that comes before the reply queue is there is lost.
        writer.later(result.id, {"n": 1}, "PROGRESS", delay=0)
        await asyncio.wait({first}, timeout=1)
    assert (await first)["status"] == "PROGRESS"
    await asyncio.to_thread(writer.join)
    writer.later(result.id, 2)
    assert await wait == 2
    assert (await seen.get())["status"] == "SUCCESS"
    assert seen.empty()


async def test_one_undecodable_result_concerns_its_waiter_alone(
    make_app: Callable[..., Celery],
) -> None:
    app = make_app("redis")
    good: Any = app.AsyncResult(uuid())
    bad: Any = app.AsyncResult(uuid())
    waits = [asyncio.ensure_future(one.aget(timeout=30)) for one in (good, bad)]
    await asyncio.sleep(0.05)
    await app.backend.aset(app.backend.get_key_for_task(bad.id), b"{broken")  # type: ignore[attr-defined]
    await asyncio.sleep(0.2)
    await app.backend.astore_result(good.id, 1, "SUCCESS")  # type: ignore[attr-defined]
    done = await asyncio.gather(*waits, return_exceptions=True)
    assert done[0] == 1
    theirs = outcome(lambda: app.AsyncResult(bad.id).get(timeout=1))
    assert type(done[1]) is theirs[1][0]


async def test_without_a_backend_it_raises_as_get_does(
    make_app: Callable[..., Celery],
) -> None:
    app = make_app("disabled://")
    result: Any = app.AsyncResult(uuid())
    theirs = outcome(lambda: result.get(timeout=1))
    assert theirs[1][0] is NotImplementedError
    assert await aoutcome(result.aget(timeout=1)) == theirs
    assert await aoutcome(result.astate()) == outcome(lambda: result.state)
