"""`ResultSet` and `GroupResult` against their sync twins."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import ImproperlyConfigured
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import EagerResult
from celery.utils import uuid

from celery_async_bridge.mixins.celery.result import aresult_from_tuple, aresult_set
from tests.unit.core.help import until
from tests.unit.mixins.celery._results import QUIET, aoutcome, outcome

if TYPE_CHECKING:
    from celery import Celery

    from tests.unit.mixins.celery._results import Writer

pytestmark = QUIET


async def a_set(app: Celery, count: int = 4) -> Any:
    """A set of results of which none is there yet."""
    return await aresult_set([app.AsyncResult(uuid()) for _ in range(count)], app=app)


@pytest.mark.parametrize("how", ["aget", "ajoin", "ajoin_native"])
async def test_values_come_in_order(app: Celery, writer: Writer, how: str) -> None:
    results = await a_set(app)
    if how == "ajoin_native" and not results.supports_native_join:
        how = "ajoin"
    for place, one in enumerate(results):
        writer.later(one.id, place, delay=0.3 - 0.05 * place)
    assert await getattr(results, how)(timeout=30) == [0, 1, 2, 3]
    assert await results.aready()
    assert await results.asuccessful()
    assert not await results.afailed()
    assert not await results.awaiting()
    assert await results.acompleted_count() == 4


async def test_an_error_is_raised_or_returned(app: Celery, writer: Writer) -> None:
    results = await a_set(app, 2)
    writer.later(results[0].id, 1, delay=0)
    writer.later(results[1].id, KeyError("k"), "FAILURE", delay=0.1)
    with pytest.raises(KeyError):
        await results.aget(timeout=30)
    values = await results.aget(timeout=30, propagate=False)
    assert values[0] == 1
    assert isinstance(values[1], KeyError)
    assert await results.afailed()
    with pytest.raises(KeyError):
        await results.amaybe_throw()


async def test_callbacks_get_each_result(app: Celery, writer: Writer) -> None:
    results = await a_set(app, 3)
    for place, one in enumerate(results):
        writer.later(one.id, place, delay=0.1)
    seen: list[Any] = []
    returned = await results.aget(timeout=30, callback=lambda *pair: seen.append(pair))
    assert sorted(seen) == sorted((one.id, place) for place, one in enumerate(results))
    assert returned == (None if results.supports_native_join else [])


async def test_the_timeout_is_for_all(app: Celery, writer: Writer) -> None:
    results = await a_set(app, 6)
    writer.series((0.5, one.id, 1, "SUCCESS") for one in results[:5])
    started = time.monotonic()
    with pytest.raises(CeleryTimeoutError):
        await results.aget(timeout=1)
    # If each result had a second of its own, it would be over a second after the fifth.
    assert 0.99 < time.monotonic() - started < 3.4


async def test_an_empty_set(app: Celery) -> None:
    results = await a_set(app, 0)
    assert await results.ajoin() == []
    assert [one async for one in results.aiter_native()] == []
    assert await results.ajoin_native() == []


async def test_metas_come_as_they_arrive(app: Celery, writer: Writer) -> None:
    results = await a_set(app, 3)
    backend: Any = app.backend
    if not hasattr(backend, "get_many") and not backend.is_async:
        theirs = outcome(lambda: list(results.iter_native()))
        assert theirs[1][0] is AttributeError
        assert await aoutcome(results.aiter_native().__anext__()) == theirs
        return
    found = []
    writer.later(results[2].id, 2)
    async for _, meta in results.aiter_native(timeout=30):
        found.append(meta["result"])
        if place := meta["result"]:
            writer.later(results[place - 1].id, place - 1, delay=0)
    assert found == [2, 1, 0]
    again = [meta["result"] async for _, meta in results.aiter_native(timeout=30)]
    assert sorted(again) == [0, 1, 2]


async def test_a_nested_set(app: Celery, writer: Writer) -> None:
    inner = await aresult_from_tuple(
        ((uuid(), None), [((uuid(), None), None), ((uuid(), None), None)]), app
    )
    outer = await aresult_set([app.AsyncResult(uuid()), inner], app=app)
    for place, one in enumerate([outer[0], *inner]):
        writer.later(one.id, place, delay=0.1)
    assert await outer.ajoin(timeout=30) == [0, [1, 2]]
    if outer.supports_native_join:
        assert await outer.ajoin_native(timeout=30) == [0, [1, 2]]
    assert await outer.aget(timeout=30) == outer.get(timeout=30)


async def test_leaving_the_iteration_early_leaves_no_waiter(
    app: Celery, writer: Writer
) -> None:
    results = await a_set(app, 3)
    if not results.supports_native_join:
        pytest.skip("the backend has no native join")
    writer.later(results[1].id, 1, delay=0.05)
    metas = results.aiter_native(timeout=30)
    task_id, _ = await metas.__anext__()
    assert task_id == results[1].id
    await metas.aclose()
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_join_refuses_on_message(app: Celery) -> None:
    results = await a_set(app, 1)
    with pytest.raises(ImproperlyConfigured):
        await results.ajoin(on_message=print)


async def test_eager_members(app: Celery) -> None:
    results = await aresult_set([EagerResult("e", 3, "SUCCESS")], app=app)
    assert await results.aget(timeout=1) == results.get(timeout=1) == [3]


async def test_add_then_and_forget(app: Celery, writer: Writer) -> None:
    results = await a_set(app, 1)
    more = app.AsyncResult(uuid())
    await results.aadd(more)
    await results.aadd(more)
    assert len(results) == 2
    for one in results:
        writer.later(one.id, 1, delay=0)
    assert await results.aget(timeout=30) == [1, 1]
    await results.aforget()
    assert await app.AsyncResult(more.id).astate() == "PENDING"  # type: ignore[attr-defined]


async def test_groups_are_saved_and_restored(app: Celery) -> None:
    group: Any = await aresult_from_tuple(
        ((uuid(), None), [((uuid(), None), None)]), app
    )
    await group.asave()
    assert await app.GroupResult.arestore(group.id, app=app) == group  # type: ignore[attr-defined]
    assert app.GroupResult.restore(group.id, app=app) == group
    await group.adelete()
    fresh: Any = app.GroupResult
    assert await fresh.arestore(group.id, app=app) is None
