"""Results of a stock worker, awaited in every way that the sync API can wait."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from typing import Any

import pytest
from celery import canvas, states
from celery.exceptions import (
    ImproperlyConfigured,
    IncompleteStream,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    TimeoutError,
)
from celery.result import GroupResult, ResultSet, allow_join_result, denied_join_result

from tests.interop.async_api.api_tasks import ApiError
from tests.interop.async_api.compare import TIMEOUT, both, in_box
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

#: Without their types, which do not know the twins.
chain: Any = canvas.chain
group: Any = canvas.group


def _unknown(app: Any) -> Any:
    """The result of a task that nobody has sent."""
    return app.AsyncResult(str(uuid.uuid4()))


async def test_reads_are_those_of_the_sync_properties(t: Any) -> None:
    names = "state status result info name args kwargs worker retries queue date_done"
    for result in (await t.plus.adelay(1, 2, z=3), await t.fail.adelay("boo")):
        await result.aget(timeout=TIMEOUT, propagate=False)
        again = t.add.app.AsyncResult(result.id)
        for name in [*names.split(), "traceback", "children"]:
            twin = await getattr(result, f"a{name}")()
            stock = await asyncio.to_thread(getattr, again, name)
            assert repr(twin) == repr(stock), name
    assert await result.aname() == "stock.fail"
    assert "ValueError: boo" in await result.atraceback()


async def test_outcome_is_told(t: Any) -> None:
    good, bad = await t.add.adelay(1, 2), await t.fail_api.adelay(7, "no")
    assert await good.aget(timeout=TIMEOUT) == 3
    with pytest.raises(ApiError) as raised:
        await bad.aget(timeout=TIMEOUT)
    assert raised.value.args == (7, "no")
    value = await bad.aget(propagate=False)
    assert (type(value), value.args) == (ApiError, (7, "no"))
    with pytest.raises(ApiError):
        await bad.amaybe_throw()
    told = [
        [await one.aready(), await one.asuccessful(), await one.afailed()]
        for one in (good, bad, _unknown(t.add.app))
    ]
    assert told == [[True, True, False], [True, False, True], [False, False, False]]


@pytest.mark.parametrize("timeout", [0, 0.3])
async def test_timeout_is_that_of_upstream(app: Any, timeout: float) -> None:
    clock = time.monotonic
    for wait in (_unknown(app).aget, app.ResultSet([_unknown(app)]).aget):
        started = clock()
        with pytest.raises(TimeoutError):
            await wait(timeout=timeout, interval=20)
        assert timeout <= clock() - started < 5


async def test_started_is_not_a_result(app: Any, t: Any) -> None:
    result = await t.nap.adelay(0.6, "slept")
    seen: list[Any] = []
    assert await result.aget(timeout=TIMEOUT, on_message=seen.append) == "slept"
    assert seen[-1]["status"] == "SUCCESS"
    assert {meta["status"] for meta in seen} <= {"STARTED", "SUCCESS"}
    with pytest.raises(TimeoutError):
        await (await t.nap.adelay(1)).aget(timeout=0.4)


async def test_states_and_progress(t: Any) -> None:
    result = await t.progress.adelay(3)
    seen = [(state, meta["result"]) async for state, meta in result.astates()]
    steps = [meta["step"] for state, meta in seen if state == "PROGRESS"]
    assert steps == [0, 1, 2]
    assert seen[-1] == ("SUCCESS", "done")
    assert {state for state, _ in seen} <= {"PENDING", "STARTED", "PROGRESS", "SUCCESS"}
    other = await t.progress.adelay(2)
    async for state, _ in other.astates(timeout=TIMEOUT):
        if state == "PROGRESS":
            assert set(await other.ainfo()) == {"step"}
            break
    assert await other.aget(timeout=TIMEOUT) == "done"


async def test_messages_are_those_that_a_sync_get_sees(t: Any) -> None:
    ours: list[Any] = []
    theirs: list[Any] = []
    result, other = await t.progress.adelay(2), await t.progress.adelay(2)
    await asyncio.gather(
        result.aget(timeout=TIMEOUT, on_message=ours.append),
        asyncio.to_thread(other.get, timeout=TIMEOUT, on_message=theirs.append),
    )
    seen = [[(m["status"], m["result"]) for m in metas] for metas in (ours, theirs)]
    # Whoever subscribes after the first ones were stored does not see those.
    for one in seen:
        steps = [result for status, result in one if status == "PROGRESS"]
        assert steps in ([{"step": 0}, {"step": 1}], [{"step": 1}])
        assert one[-1] == ("SUCCESS", "done")
    assert set(ours[-1]) == set(theirs[-1])


async def test_callbacks(t: Any) -> None:
    heard: list[Any] = []
    ticks: list[int] = []

    def callback(task_id: str, value: Any) -> None:
        heard.append((task_id, value))

    result = await t.nap.adelay(0.4, "v")
    value = await result.aget(
        timeout=TIMEOUT,
        callback=callback,
        interval=0.05,
        on_interval=lambda: ticks.append(threading.get_ident()),
    )
    again = t.add.app.AsyncResult(result.id)
    stock = await asyncio.to_thread(again.get, callback=callback)
    assert value == stock
    assert heard == [(result.id, "v")] * 2
    assert set(ticks) == {threading.get_ident()}
    await (await t.fail.adelay("x")).aget(
        timeout=TIMEOUT, callback=callback, propagate=False
    )
    assert isinstance(heard[-1][1], ValueError)


async def test_parent_that_failed_is_followed(t: Any) -> None:
    result = await chain(t.fail.s("first"), t.add.s(1), t.add.s(2)).aapply_async()
    with pytest.raises(ValueError, match="first"):
        await result.aget(timeout=TIMEOUT)
    # The worker stores the error for those after it, too.
    again = t.add.app.AsyncResult(result.id)
    with pytest.raises(ValueError, match="first"):
        await again.aget(timeout=TIMEOUT, follow_parents=False)
    parent = _unknown(t.add.app)
    await t.add.app.backend.astore_result(parent.id, KeyError("up"), states.FAILURE)
    orphan = _unknown(t.add.app)
    orphan.parent = parent
    with pytest.raises(KeyError, match="up"):
        await orphan.aget(timeout=TIMEOUT)
    for alone in ({"follow_parents": False}, {"propagate": False}):
        with pytest.raises(TimeoutError):
            await orphan.aget(timeout=0.2, **alone)


async def test_children_and_their_values(t: Any) -> None:
    result = await t.sends.adelay(2, 1)
    assert await result.aget(timeout=TIMEOUT) == 1
    children = await result.achildren()
    assert len(children) == 2
    assert [await child.aget(timeout=TIMEOUT) for child in children] == [0, 0]
    leaves = [leaf for child in children for leaf in await child.achildren()]
    for leaf in leaves:
        await leaf.aget(timeout=TIMEOUT)
    ours = [(node.id, value) async for node, value in result.acollect()]
    again = t.add.app.AsyncResult(result.id)

    def collect() -> Any:
        return [(node.id, value) for node, value in again.collect()]

    with allow_join_result():
        assert ours == await asyncio.to_thread(collect)
    assert [value for _, value in ours] == [1, 0, 0, 10, 11, 10, 11]
    assert await result.aget_leaf() == await asyncio.to_thread(again.get_leaf) == 11
    graph = await result.agraph()
    assert len(list(graph)) == len(ours)
    slow = await t.nap.adelay(0.5)
    with pytest.raises(IncompleteStream):
        [node async for _, node in slow.aiterdeps()]
    assert [node async for _, node in slow.aiterdeps(intermediate=True)] == [slow]
    await slow.aget(timeout=TIMEOUT)


async def test_forgotten_result_is_gone(app: Any, t: Any) -> None:
    result = await chain(t.add.s(1, 1), t.add.s(1)).aapply_async()
    assert await result.aget(timeout=TIMEOUT) == 3
    await result.aforget()
    for one in (result, result.parent):
        again = app.AsyncResult(one.id)
        assert await again.astate() == "PENDING"
        assert await asyncio.to_thread(getattr, again, "state") == "PENDING"


async def test_sync_waits_are_refused_where_they_block(t: Any) -> None:
    result = await t.add.adelay(1, 1)
    members = await group(t.add.s(1, 1)).aapply_async()
    with denied_join_result():
        for wait in (result.aget, members.aget, members.ajoin, members.ajoin_native):
            with pytest.raises(RuntimeError, match="Never call"):
                await wait(timeout=TIMEOUT)
        assert await result.aget(timeout=TIMEOUT, disable_sync_subtasks=False) == 2
        assert await members.ajoin(timeout=TIMEOUT, disable_sync_subtasks=False) == [2]
    waiting = await t.waits.adelay(1)
    with pytest.raises(RuntimeError, match="Never call"):
        await waiting.aget(timeout=TIMEOUT)


async def test_ignored_result_is_not_awaited(app: Any, t: Any, unique: str) -> None:
    never = await t.ignored.adelay(key=unique)
    once = await t.add.aapply_async((1, 1), ignore_result=True)
    kept = await t.ignored.aapply_async(kwargs={"key": unique}, ignore_result=False)
    assert await never.aget(timeout=TIMEOUT) is await once.aget(timeout=TIMEOUT) is None
    assert await kept.aget(timeout=TIMEOUT) == 1
    assert await in_box(app, unique, 2) == [["ran"]] * 2
    assert await app.AsyncResult(never.id).astate() == "PENDING"


async def test_retries(t: Any) -> None:
    result = await t.retried_with.aapply_async((1,), headers={"x": "y"})
    seen = [(state, meta) async for state, meta in result.astates(timeout=TIMEOUT)]
    assert "RETRY" in {state for state, _ in seen}
    assert await result.aget(timeout=TIMEOUT) == [2, 1, "y"]
    assert await result.aretries() == 1
    assert await (await t.retries_by_itself.adelay()).aget(timeout=TIMEOUT) == 2
    with pytest.raises(ValueError, match="enough"):
        await (await t.gives_up.adelay("enough")).aget(timeout=TIMEOUT)


async def test_ends_without_a_value(app: Any, t: Any) -> None:
    late = await t.add.aapply_async((1, 1), expires=-1)
    with pytest.raises(TaskRevokedError, match="expired"):
        await late.aget(timeout=TIMEOUT)
    soft = await t.nap.aapply_async((20,), soft_time_limit=1)
    hard = await t.nap.aapply_async((20,), time_limit=1)
    with pytest.raises(SoftTimeLimitExceeded):
        await soft.aget(timeout=TIMEOUT)
    with pytest.raises(TimeLimitExceeded):
        await hard.aget(timeout=TIMEOUT)
    with pytest.raises(ImproperlyConfigured):
        await (await t.replaced_by_nothing.adelay()).aget(timeout=TIMEOUT)
    with pytest.raises(TypeError):
        await t.add.adelay(1)
    unchecked = await app.asend_task("stock.add", (1,))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        await unchecked.aget(timeout=TIMEOUT)
    rejected = await both(t.rejects.s)
    assert "not mine" in rejected["text"]


async def test_big_result(t: Any) -> None:
    result = await t.big.adelay(3_000_000)
    assert len(await result.aget(timeout=TIMEOUT)) == 3_000_000


async def test_eta(t: Any) -> None:
    started = time.monotonic()
    result = await t.identity.aapply_async((1,), countdown=1)
    assert await result.aget(timeout=TIMEOUT) == 1
    assert time.monotonic() - started >= 0.9


async def test_two_hundred_at_once(t: Any) -> None:
    results = await asyncio.gather(*(t.add.adelay(n, 1) for n in range(200)))
    values = await asyncio.gather(*(one.aget(timeout=60) for one in results))
    assert values == [n + 1 for n in range(200)]
    again = [t.add.app.AsyncResult(one.id) for one in results]
    assert await asyncio.gather(*(one.aget(timeout=5) for one in again)) == values
    together = await t.add.app.ResultSet(again).ajoin_native(timeout=5)
    assert together == values


async def test_result_is_awaited_by_many(app: Any, t: Any) -> None:
    result = await t.nap.adelay(0.5, "shared")

    def elsewhere() -> Any:
        return asyncio.run(app.AsyncResult(result.id).aget(timeout=TIMEOUT))

    leaving = asyncio.ensure_future(app.AsyncResult(result.id).aget())
    waits = asyncio.gather(
        *(app.AsyncResult(result.id).aget(timeout=TIMEOUT) for _ in range(20)),
        *(result.aget(timeout=TIMEOUT) for _ in range(5)),
        asyncio.to_thread(elsewhere),
        asyncio.to_thread(app.AsyncResult(result.id).get, timeout=TIMEOUT),
    )
    await asyncio.sleep(0.1)
    leaving.cancel()
    assert await waits == ["shared"] * 27
    assert leaving.cancelled()


async def _three(t: Any) -> Any:
    sig = group(t.nap.s(0.3, "slow"), t.fail.s("mid"), t.nap.s(0, "fast"))
    return await sig.aapply_async()


@pytest.mark.parametrize("join", ["aget", "ajoin", "ajoin_native"])
async def test_joins(t: Any, join: str) -> None:
    result = await _three(t)
    with pytest.raises(ValueError, match="mid"):
        await getattr(result, join)(timeout=TIMEOUT)
    slow, error, fast = await getattr(result, join)(timeout=TIMEOUT, propagate=False)
    assert (slow, repr(error), fast) == ("slow", "ValueError('mid')", "fast")
    told: dict[str, Any] = {}
    rest = await getattr(result, join)(
        timeout=TIMEOUT, propagate=False, callback=told.__setitem__
    )
    stock = await asyncio.to_thread(
        getattr(result, join[1:]),
        timeout=TIMEOUT,
        propagate=False,
        callback=lambda task_id, value: None,
    )
    assert rest == stock
    assert told.keys() == {one.id for one in result.results}
    late = await group(t.nap.s(1), t.nap.s(0)).aapply_async()
    with pytest.raises(TimeoutError):
        await getattr(late, join)(timeout=0.3)
    await late.aget(timeout=TIMEOUT)


async def test_time_of_a_join_is_for_all(t: Any) -> None:
    done = await t.add.adelay(1, 1)
    await done.aget(timeout=TIMEOUT)
    members = ResultSet([done, await t.nap.adelay(1.5)], app=t.add.app)
    heard: list[Any] = []

    def callback(task_id: str, value: Any) -> None:
        heard.append(value)

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await members.ajoin(timeout=0.3, callback=callback)  # type: ignore[attr-defined]
    assert heard == [2]
    assert time.monotonic() - started < 1.4
    await members.aget(timeout=TIMEOUT)  # type: ignore[attr-defined]


async def test_iteration_is_by_arrival(t: Any) -> None:
    result = await _three(t)
    seen = [(id_, meta["status"]) async for id_, meta in result.aiter_native(TIMEOUT)]
    slow, mid, fast = (one.id for one in result.results)
    assert seen[-1] == (slow, "SUCCESS")
    assert sorted(seen[:2]) == sorted([(mid, "FAILURE"), (fast, "SUCCESS")])
    none = GroupResult(str(uuid.uuid4()), [], app=t.add.app)
    assert [pair async for pair in none.aiter_native()] == []  # type: ignore[attr-defined]
    assert await none.ajoin() == []  # type: ignore[attr-defined]


async def test_set_of_results(app: Any, t: Any) -> None:
    first, second = await t.nap.adelay(0.4, 1), await t.fail.adelay("two")
    members: Any = ResultSet([], app=app)
    for one in (first, second, first):
        await members.aadd(one)
    assert [one.id for one in members.results] == [first.id, second.id]
    assert await members.awaiting()
    assert not await members.aready()
    with pytest.raises(ValueError, match="two"):
        await members.aget(timeout=TIMEOUT)
    await members.aget(timeout=TIMEOUT, propagate=False)
    assert await members.aready()
    assert await members.afailed()
    assert not await members.asuccessful()
    assert await members.acompleted_count() == 1
    with pytest.raises(ValueError, match="two"):
        await members.amaybe_throw()
    await members.aforget()
    assert await app.AsyncResult(first.id).astate() == "PENDING"


async def test_group_is_saved_and_restored(app: Any, t: Any) -> None:
    result = await group(t.add.s(1, 1), chain(t.add.s(1, 1), t.add.s(1))).aapply_async()
    await result.asave()
    found = await app.GroupResult.arestore(result.id)
    assert found == result
    assert await found.aget(timeout=TIMEOUT) == [2, 3]
    stock = await asyncio.to_thread(app.GroupResult.restore, result.id)
    assert stock == found
    await found.adelete()
    assert await app.GroupResult.arestore(result.id) is None


async def test_result_that_was_serialized(app: Any, t: Any) -> None:
    from celery.result import result_from_tuple

    sent = await chain(t.add.s(1, 1), group(t.add.s(1), t.add.s(2))).aapply_async()
    found: Any = result_from_tuple(sent.as_tuple(), app)
    assert await found.aget(timeout=TIMEOUT) == [3, 4]
    assert await found.parent.aget(timeout=TIMEOUT) == 2


async def test_stored_by_hand(app: Any) -> None:
    result = _unknown(app)
    waiting = asyncio.ensure_future(result.aget(timeout=TIMEOUT))
    await asyncio.sleep(0.1)
    await app.backend.astore_result(result.id, {"by": "hand"}, states.SUCCESS)
    assert await waiting == {"by": "hand"}
    assert await asyncio.to_thread(app.AsyncResult(result.id).get) == {"by": "hand"}
