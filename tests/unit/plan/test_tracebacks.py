"""What a failed call raises shows who has made it, and nothing of other calls."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from celery import Task, group
from celery.exceptions import TimeoutError as CeleryTimeoutError
from kombu.exceptions import EncodeError, OperationalError
from redis.exceptions import ResponseError

from celery_async_bridge.drivers.redis.mux import Mux, muxes
from celery_async_bridge.errors import PublishTimeout

if TYPE_CHECKING:
    from tests.unit.plan.conftest import Desk


_group: Any = group


class Overridden(Task):  # type: ignore[type-arg]
    """Goes through the trampoline."""

    abstract = True

    def apply_async(self, *args: Any, **options: Any) -> Any:
        return super().apply_async(*args, **options)


async def the_caller(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _raised(awaitable: Awaitable[Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        await the_caller(awaitable)
    return caught.value


def _names(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def _chain(error: BaseException | None) -> list[type[BaseException]]:
    """The types of what a traceback would print, the last one first."""
    found = []
    while error is not None:
        found.append(type(error))
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return found


async def _is_steady(
    call: Callable[[], Awaitable[Any]], chain: list[type[BaseException]]
) -> None:
    """The caller is in it, the chain is this one, and nothing grows."""
    errors = [await _raised(call()) for _ in range(4)]
    assert len({id(error) for error in errors}) == 4
    for error in errors:
        assert _names(error).count("the_caller") == 1
        assert _chain(error) == chain
    assert len({len(_names(error)) for error in errors[1:]}) == 1


WAYS: dict[str, Callable[[Desk, Any], Awaitable[Any]]] = {
    "plan": lambda desk, over: desk.add.adelay(1),
    "trampoline": lambda desk, over: over.adelay(1),
    "by name": lambda desk, over: desk.app.asend_task("far.away", (1,)),
    "group": lambda desk, over: _group(desk.add.s(1), desk.add.s(2)).aapply_async(),
    "chain": lambda desk, over: (desk.add.s(1) | desk.add.s()).aapply_async(),
}


@pytest.fixture
def way(request: pytest.FixtureRequest, desk: Desk) -> Any:
    over = desk.task("over", base=Overridden)
    return lambda: WAYS[request.param](desk, over)


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_an_answer_of_the_server(desk: Desk, way: Any) -> None:
    policy = {"max_retries": 1, "interval_start": 0}
    desk.app.conf.task_publish_retry_policy = policy
    for _ in range(3):
        await way()
    desk.raw()
    key = f"{desk.prefix}{desk.queue}"
    desk.client.set(key, "no list")
    try:
        await _is_steady(way, [OperationalError, ResponseError])
    finally:
        desk.client.delete(key)


async def test_an_item_of_many(desk: Desk) -> None:
    await desk.learned()
    sent = await desk.add.amap_delay([(1,), (object(),), (object(),)])
    one, other = sent[1:]
    assert isinstance(one, EncodeError)
    # Nobody has raised it yet: it is a value, with where it comes from.
    assert one is not other
    assert _names(one) == _names(other)
    assert _chain(one) == _chain(other) == [EncodeError, TypeError]


async def test_what_cannot_be_encoded(desk: Desk) -> None:
    await desk.learned()
    await _is_steady(lambda: desk.add.adelay(object()), [EncodeError, TypeError])


@pytest.mark.parametrize("way", ["plan", "trampoline"], indirect=True)
async def test_a_lost_connection_fails_each_call_with_an_error_of_its_own(
    desk: Desk, way: Any
) -> None:
    desk.app.conf.task_publish_retry = False
    for _ in range(3):
        await way()
    tasks = [asyncio.ensure_future(the_caller(way())) for _ in range(40)]
    for _ in range(3):
        await asyncio.sleep(0)
    (mux,) = [mux for mux in muxes() if mux.up]
    assert mux.in_flight
    mux._link.abort()  # type: ignore[union-attr]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [one for one in found if isinstance(one, BaseException)]
    assert errors
    assert len({id(error) for error in errors}) == len(errors)
    for error in errors:
        assert isinstance(error, OperationalError)
        assert _names(error).count("the_caller") == 1
    assert len({len(_names(error)) for error in errors}) <= 3


@pytest.mark.parametrize("way", ["plan", "trampoline"], indirect=True)
async def test_a_deadline(
    desk: Desk, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await way()
    desk.app.conf.async_publish_timeout = 0.1
    await way()
    await way()

    def never(self: Mux, data: bytes, *_: Any) -> Any:
        return asyncio.get_running_loop().create_future()

    for name in ("push", "push_many"):
        monkeypatch.setattr(Mux, name, never)
    await _is_steady(way, [PublishTimeout])


async def test_a_result_that_many_wait_for(desk: Desk) -> None:
    result = desk.app.AsyncResult("failed")
    key = result.backend.get_key_for_task(result.id)
    desk.client.delete(key)
    waits = [
        asyncio.ensure_future(the_caller(desk.app.AsyncResult("failed").aget(10)))
        for _ in range(30)
    ]
    await asyncio.sleep(0.1)
    await result.backend.astore_result(result.id, ValueError("wrong"), "FAILURE")
    found = await asyncio.gather(*waits, return_exceptions=True)
    lengths = {len(_names(error)) for error in found}
    late = [await _raised(result.aget(10)) for _ in range(5)]
    desk.client.delete(key)
    # They may share it: it was decoded once.
    for error in (*found, *late):
        assert isinstance(error, ValueError)
        assert _names(error).count("the_caller") == 1
        assert _chain(error) == [ValueError]
    assert max(lengths) < 25
    assert len(_names(late[-1])) < 25


async def test_a_result_that_does_not_come(desk: Desk) -> None:
    result = desk.app.AsyncResult("never")
    await _is_steady(lambda: result.aget(timeout=0.05), [CeleryTimeoutError])
