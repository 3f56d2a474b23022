"""The twins of backend objects against their sync methods."""

from __future__ import annotations

import asyncio
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from celery import VERSION
from celery.app.task import Context
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from celery_async_bridge.mixins.celery.backends._route import (
    backend_object_route,
    is_apps_own,
    sending_route,
)
from tests.unit.mixins.celery._results import QUIET, aoutcome, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from tests.unit.mixins.celery._results import Writer

pytestmark = QUIET


async def test_storing_and_reading(app: Celery) -> None:
    backend: Any = app.backend
    task_id = uuid()
    await backend.amark_as_started(task_id)
    assert await backend.aget_state(task_id) == backend.get_state(task_id) == "STARTED"
    await backend.amark_as_retry(task_id, KeyError("again"))
    assert await backend.aget_state(task_id) == "RETRY"
    await backend.amark_as_failure(task_id, KeyError("k"), traceback="tb")
    assert await backend.aget_traceback(task_id) == "tb"
    assert isinstance(await backend.aget_result(task_id), KeyError)
    await backend.amark_as_revoked(task_id, "why")
    assert await backend.aget_state(task_id) == "REVOKED"
    await backend.amark_as_done(task_id, [1])
    assert await backend.aget_task_meta(task_id) == backend.get_task_meta(task_id)
    assert await backend.aget_children(task_id) == backend.get_children(task_id)
    await backend.areload_task_result(task_id)
    if hasattr(backend, "task_result_exists"):
        assert await backend.atask_result_exists(task_id) is True
    await backend.aforget(task_id)
    assert await backend.aget_state(task_id) == "PENDING"
    await backend.acleanup()
    await backend.aprocess_cleanup()


async def test_groups(app: Celery) -> None:
    backend: Any = app.backend
    group: Any = app.GroupResult(uuid(), [app.AsyncResult(uuid())])
    await backend.asave_group(group.id, group)
    assert await backend.arestore_group(group.id) == group
    assert (await backend.aget_group_meta(group.id))["result"] == group
    await backend.areload_group_result(group.id)
    await backend.adelete_group(group.id)
    assert await backend.arestore_group(group.id) is None


async def test_waiting_for_an_id(app: Celery, writer: Writer) -> None:
    backend: Any = app.backend
    if backend.is_async:
        pytest.skip("the backend has no wait_for")
    task_id = uuid()
    writer.later(task_id, KeyError("k"), "FAILURE")
    meta = await backend.await_for(task_id, timeout=30)
    theirs = backend.wait_for(task_id)
    assert (meta["status"], str(meta["result"])) == ("FAILURE", str(theirs["result"]))
    with pytest.raises(CeleryTimeoutError, match="timed out"):
        await backend.await_for(uuid(), timeout=0)


async def test_waiting_for_a_result(app: Celery, writer: Writer) -> None:
    backend: Any = app.backend
    result: Any = app.AsyncResult(uuid())
    assert await backend.aadd_pending_result(result) is result
    writer.later(result.id, 3)
    assert await backend.await_for_pending(result, timeout=30) == 3
    assert await backend.aremove_pending_result(result) is result
    found = await aoutcome(
        backend.await_for_pending(app.AsyncResult(uuid()), timeout=0)
    )
    assert found[1][0] is CeleryTimeoutError


@pytest.mark.parametrize("store", ["memory", "redis", "file"])
async def test_many(store: str, make_app: Callable[..., Celery]) -> None:
    app = make_app(store)
    backend: Any = app.backend
    ids = [uuid() for _ in range(4)]
    for place, task_id in enumerate(ids[:3]):
        await backend.astore_result(task_id, place, "SUCCESS")
    seen: list[Any] = []
    metas = backend.aget_many(ids[:3], timeout=30, on_message=seen.append)
    found = {task_id: meta["result"] async for task_id, meta in metas}
    assert found == dict(zip(ids, range(3), strict=False))
    assert len(seen) in {0, 3}
    rounds = backend.aget_many(ids, interval=0.01, max_iterations=2)
    assert {task_id async for task_id, _ in rounds} == set(ids[:3])
    rest: list[str] = []
    started = time.monotonic()

    async def collect() -> None:
        async for task_id, _ in backend.aget_many(ids, timeout=0.2):
            rest.append(task_id)  # the rest raises

    with pytest.raises(CeleryTimeoutError, match=r"Operation timed out \(0\.2\)"):
        await collect()
    assert set(rest) == set(ids[:3])
    assert 0.19 < time.monotonic() - started < 20


@pytest.mark.parametrize("store", ["memory", "redis", "file"])
async def test_keys(store: str, make_app: Callable[..., Celery], unique: str) -> None:
    app = make_app(store)
    backend: Any = app.backend
    key = backend.key_t(f"{unique}-key")
    await backend.aset(key, b"1")
    assert await backend.aget(key) == backend.get(key)
    many = await backend.amget([key])
    theirs = backend.mget([key])
    assert many == (list(theirs) if hasattr(theirs, "__next__") else theirs)
    for call in ("incr", "expire"):
        args = (key,) if call == "incr" else (key, 100)
        theirs = outcome(lambda call=call, args=args: getattr(backend, call)(*args))
        ours = await aoutcome(getattr(backend, f"a{call}")(*args))
        assert type(ours[1]) is type(theirs[1])
        assert ours[0] == theirs[0]
    await backend.adelete(key)
    assert await backend.aget(key) is None


async def test_the_exception_that_is_being_handled(app: Celery) -> None:
    backend: Any = app.backend
    task_id = uuid()

    async def deeper() -> Any:
        return await backend.afail_from_current_stack(task_id)

    handled = None
    try:
        raise KeyError("handled")
    except KeyError as exc:
        handled = exc
        info = await deeper()
    assert info.type is KeyError
    # Upstream clears the frames of the traceback; ours was suspended and lives on.
    frames = [frame for frame, _ in traceback.walk_tb(handled.__traceback__)]
    assert any(frame.f_locals.get("task_id") == task_id for frame in frames)
    meta = await backend.aget_task_meta(task_id)
    assert meta["status"] == "FAILURE"
    assert "handled" in meta["traceback"]


async def test_an_error_in_a_chord(app: Celery) -> None:
    backend: Any = app.backend
    body = app.signature("body", task_id=uuid())
    try:
        raise KeyError("header")
    except KeyError as exc:
        await backend.achord_error_from_stack(body, exc)
    assert await backend.aget_state(body.options["task_id"]) == "FAILURE"


async def test_a_chord_counts_its_parts(make_app: Callable[..., Celery]) -> None:
    # The Redis backend of 5.5 looks for the group in the current app.
    for store in ("memory", "redis") if VERSION >= (5, 6) else ("memory",):
        app = make_app(store, task_default_queue=f"chords-{store}-{uuid()}")
        backend: Any = app.backend
        body = app.signature("body", task_id=uuid())
        ids = [uuid(), uuid()]
        group_id = uuid()
        header = [app.AsyncResult(one) for one in ids]
        await backend.aapply_chord((group_id, header), body)
        await backend.aset_chord_size(group_id, 2)
        for place, one in enumerate(ids):
            request = Context(
                id=one,
                group=group_id,
                group_index=place,
                chord={**body, "chord_size": 2},
            )
            await backend.amark_as_done(one, place, request=request)
        with app.connection_for_read() as connection:
            queue = app.amqp.queues[app.conf.task_default_queue](
                connection.default_channel
            )
            message = queue.get(no_ack=True)
        assert message is not None
        assert message.headers["id"] == body.options["task_id"]
        assert message.payload[0] == [[0, 1]]


async def test_routes(make_app: Callable[..., Celery]) -> None:
    from celery.backends.redis import RedisBackend

    app = make_app("redis")
    own: Any = app.backend
    assert is_apps_own(own)
    other: Any = RedisBackend(app=app, url="redis://u:s3cr3t@elsewhere/1")
    assert not is_apps_own(other)
    route = backend_object_route(other)
    assert "s3cr3t" not in route.label
    assert route.endpoints[0].key != backend_object_route(own).endpoints[0].key
    assert [one.side for one in sending_route(own).endpoints] == ["backend", "broker"]


async def test_the_consumer_of_redis(make_app: Callable[..., Celery]) -> None:
    app = make_app("redis")
    backend: Any = app.backend
    consumer = backend.result_consumer
    result: Any = app.AsyncResult(uuid())
    await backend.aadd_pending_results([result])
    await backend.astore_result(result.id, 1, "SUCCESS")
    for _ in range(100):
        await consumer.adrain_events(timeout=0.1)
        if result._cache is not None:
            break
    assert result._cache["result"] == 1
    await consumer.aconsume_from(uuid())
    await consumer.acancel_for(result.id)
    other: Any = app.AsyncResult(uuid())
    await backend.aadd_pending_result(other)
    await backend.astore_result(other.id, 2, "SUCCESS")
    async for _ in consumer.adrain_events_until(other.on_ready, timeout=30):
        pass
    assert other._cache["result"] == 2
    async with consumer.areconnect_on_error():
        pass
    await consumer.aon_wait_for_pending(app.AsyncResult(uuid()))


async def test_calls_on_one_backend_take_turns_or_share_a_lock(app: Celery) -> None:
    backend: Any = app.backend
    ids = [uuid() for _ in range(30)]
    await asyncio.gather(*(backend.astore_result(one, one, "SUCCESS") for one in ids))
    states = await asyncio.gather(*(backend.aget_result(one) for one in ids))
    assert states == ids


async def test_without_a_backend(make_app: Callable[..., Celery]) -> None:
    backend: Any = make_app("disabled://").backend
    for call in (
        backend.aget_state("x"),
        backend.await_for("x"),
        backend.aget_many(["x"]).__anext__(),
        backend.aadd_to_chord("x", None),
    ):
        with pytest.raises(NotImplementedError):
            await call


async def test_rpc_does_not_do_what_it_cannot(make_app: Callable[..., Celery]) -> None:
    backend: Any = make_app("rpc://").backend
    for name, args in (
        ("save_group", ("g", None)),
        ("restore_group", ("g",)),
        ("delete_group", ("g",)),
        ("reload_task_result", ("t",)),
    ):
        theirs = outcome(lambda n=name, a=args: getattr(backend, n)(*a))
        assert await aoutcome(getattr(backend, f"a{name}")(*args)) == theirs
