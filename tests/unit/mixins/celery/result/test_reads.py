"""The other twins of `AsyncResult` and those of `EagerResult`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import IncompleteStream
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import EagerResult
from celery.utils import uuid

from tests.unit.mixins.celery._results import QUIET, aoutcome, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from tests.unit.mixins.celery._results import Writer

pytestmark = QUIET

PROPERTIES = (
    *("state", "status", "result", "info", "traceback", "children", "name", "args"),
    *("kwargs", "worker", "date_done", "retries", "queue", "graph"),
)
METHODS = (
    *("ready", "successful", "failed", "exists", "build_graph"),
    *("maybe_throw", "maybe_reraise"),
)


@pytest.mark.parametrize("state", ["PENDING", "SUCCESS", "FAILURE"])
async def test_reads_equal_the_sync_ones(app: Celery, state: str) -> None:
    result: Any = app.AsyncResult(uuid())
    if state != "PENDING":
        value = ValueError("x") if state == "FAILURE" else [1]
        await result.backend.astore_result(result.id, value, state, traceback="tb")
    for name in PROPERTIES:
        fresh: Any = app.AsyncResult(result.id)
        theirs = outcome(lambda name=name: getattr(app.AsyncResult(result.id), name))
        found = await aoutcome(getattr(fresh, f"a{name}")())
        assert repr(found) == repr(theirs), name
    for name in METHODS:
        fresh = app.AsyncResult(result.id)
        if hasattr(fresh, name):
            found = await aoutcome(getattr(fresh, f"a{name}")())
            theirs = outcome(getattr(app.AsyncResult(result.id), name))
            assert repr(found) == repr(theirs), name


async def test_states_are_yielded_until_ready(app: Celery, writer: Writer) -> None:
    result: Any = app.AsyncResult(uuid())
    # Each is stored when the one before it has been seen.
    rest: list[tuple[Any, str]] = [
        ({"n": 1}, "PROGRESS"),
        ({"n": 2}, "PROGRESS"),
        ("end", "SUCCESS"),
    ]
    states = []
    async for state, meta in result.astates(timeout=30, interval=0.02):
        states.append((state, meta["result"]))
        if rest:
            writer.later(result.id, *rest.pop(0), delay=0.05)
    assert states == [
        ("PENDING", None),
        ("PROGRESS", {"n": 1}),
        ("PROGRESS", {"n": 2}),
        ("SUCCESS", "end"),
    ]
    again = [state async for state, _ in result.astates()]
    assert again == ["SUCCESS"]


async def test_states_end_with_the_timeout(app: Celery) -> None:
    result: Any = app.AsyncResult(uuid())
    seen = []

    async def collect() -> None:
        async for state, _ in result.astates(timeout=1):
            seen.append(state)  # the iteration raises

    with pytest.raises(CeleryTimeoutError):
        await collect()
    assert seen == ["PENDING"]


async def test_the_tree_of_results(app: Celery) -> None:
    root: Any = app.AsyncResult(uuid())
    leaf: Any = app.AsyncResult(uuid())
    await leaf.backend.astore_result(leaf.id, 2, "SUCCESS")
    root._cache = {"status": "SUCCESS", "result": 1, "children": [leaf]}
    pairs = [(one.id, value) async for one, value in root.acollect()]
    assert pairs == [(root.id, 1), (leaf.id, 2)]
    assert await root.aget_leaf() == 2
    assert [one.id async for _, one in root.aiterdeps()] == [root.id, leaf.id]
    unready: Any = app.AsyncResult(uuid())
    with pytest.raises(IncompleteStream):
        [one async for one in unready.aiterdeps()]
    assert [one.id async for _, one in unready.aiterdeps(intermediate=True)] == [
        unready.id
    ]


async def test_then_calls_back_when_the_result_is_read(
    make_app: Callable[..., Celery],
) -> None:
    app = make_app("redis")
    result: Any = app.AsyncResult(uuid())
    seen: list[Any] = []
    await result.athen(seen.append)
    await result.backend.astore_result(result.id, 1, "SUCCESS")
    assert await result.aget(timeout=30) == 1
    assert seen == [result]


async def test_an_eager_result_is_read_in_place() -> None:
    before = threading.active_count()
    good: Any = EagerResult("g", 1, "SUCCESS")
    bad: Any = EagerResult("b", ValueError("x"), "FAILURE", traceback="tb")
    assert await good.aget() == 1
    assert await aoutcome(bad.aget()) == outcome(bad.get)
    assert await good.aready() is True
    assert await good.asuccessful() is True
    assert await bad.afailed() is True
    assert await bad.astate() == "FAILURE"
    assert await bad.atraceback() == "tb"
    assert isinstance(await bad.aresult(), ValueError)
    assert [state async for state, _ in good.astates()] == ["SUCCESS"]
    seen: list[Any] = []
    await good.athen(seen.append)
    assert seen == [good]
    await good.aforget()
    await good.arevoke()
    assert await good.astate() == "REVOKED"
    assert threading.active_count() <= before  # an idle one of others may have ended


async def test_revoke_reaches_the_workers(app: Celery) -> None:
    from kombu import Connection

    result: Any = app.AsyncResult(uuid())
    sent: list[Any] = []
    connection = Connection("memory://")
    app.control.revoke = lambda *args, **kwargs: sent.append((args, kwargs))  # type: ignore[method-assign]
    await result.arevoke(connection=connection, terminate=True, signal="INT")
    assert sent[0][0] == (result.id,)
    assert sent[0][1]["connection"] is connection
    assert sent[0][1]["terminate"] is True
