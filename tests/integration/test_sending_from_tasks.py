"""Parent, root and children of what a running task sends, in every tier."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, current_task
from celery._state import pop_current_task, push_current_task

from celery_async_bridge import aclose, embedded_worker
from tests import tiers
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

#: Sends of one task: a plan is learned from the first of them.
SENDS = 4


@pytest.fixture
def app(tier: str, redis_url: str, unique: str) -> Iterator[Any]:
    app = Celery("family", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.update(
        broker_transport_options={"global_keyprefix": f"{unique}:"},
        result_backend_transport_options={"global_keyprefix": f"{unique}:"},
        task_default_queue=f"{unique}.q",
        control_exchange=f"{unique}.control",
        event_exchange=f"{unique}.events",
        result_expires=60,
        # Not consumed: their messages are looked at.
        task_routes={"child": {"queue": f"{unique}.children"}},
    )
    app.conf.task_queues = None

    @app.task(name="child", shared=False, ignore_result=True)
    def child(x: int) -> int:
        return x

    def told(self: Any) -> dict[str, Any]:
        children = [result.id for result in self.request.children]
        return {"id": self.request.id, "children": children}

    @app.task(name="sync", shared=False, bind=True)
    def sync(self: Any) -> Any:
        for n in range(SENDS):
            child.delay(n)
        return told(self)

    @app.task(name="own_loop", shared=False, bind=True)
    def own_loop(self: Any) -> Any:
        async def sends() -> None:
            for n in range(SENDS):
                await child.adelay(n)
            await aclose()

        asyncio.run(sends())
        return told(self)

    @app.task(name="awaiting", shared=False, bind=True)
    async def awaiting(self: Any) -> Any:
        for n in range(SENDS):
            await child.adelay(n)
        return told(self)

    @app.task(name="gathering", shared=False, bind=True)
    async def gathering(self: Any) -> Any:
        await asyncio.gather(*(child.adelay(n) for n in range(SENDS)))
        return told(self)

    @app.task(name="by_name", shared=False, bind=True)
    async def by_name(self: Any) -> Any:
        for n in range(SENDS):
            await app.asend_task("child", (n,))
        return told(self)

    @app.task(name="signature", shared=False, bind=True)
    async def signature(self: Any) -> Any:
        for n in range(SENDS):
            await child.s(n).adelay()
        return told(self)

    @app.task(name="orphans", shared=False, bind=True)
    async def orphans(self: Any) -> Any:
        for n in range(SENDS):
            result = await child.aapply_async((n,), add_to_parent=False)
            assert result.parent is None
        return told(self)

    app.finalize()
    tiers.prepare(tier, app)
    yield app
    app.close()


@pytest.fixture
def children(redis_url: str, unique: str) -> Iterator[Callable[[], list[Any]]]:
    with redis.Redis.from_url(redis_url) as client:
        key = f"{unique}:{unique}.children"

        def take() -> list[Any]:
            found = [json.loads(one)["headers"] for one in client.lrange(key, 0, -1)]
            client.delete(key)
            return found[::-1]

        yield take


def _family(parent: Any, headers: list[Any]) -> None:
    assert [one["parent_id"] for one in headers] == [parent["id"]] * SENDS
    assert [one["root_id"] for one in headers] == [parent["id"]] * SENDS
    assert sorted(parent["children"]) == sorted(one["id"] for one in headers)


_PARENTS = ("own_loop", "awaiting", "gathering", "by_name", "signature")


async def _run(app: Any, name: str) -> Any:
    return await (await app.tasks[name].adelay()).aget(timeout=10)


async def test_what_tasks_of_a_worker_send(
    app: Any, children: Callable[[], list[Any]]
) -> None:
    # One worker for all of it: to start and to stop it takes a second.
    async with embedded_worker(app):
        _family(await _run(app, "sync"), children())  # the reference
        for name in _PARENTS:
            _family(await _run(app, name), children())
            # Once more: what was learned in one task must not name it in another.
            _family(await _run(app, name), children())
        await _outside_of_tasks(app, children)
        await _not_added(app, children)
        await _taking_turns(app, children)
    await aclose()


async def _outside_of_tasks(app: Any, children: Callable[[], list[Any]]) -> None:
    for n in range(SENDS):
        await app.tasks["child"].adelay(n)
    for one in children():
        assert one["parent_id"] is None
        assert one["root_id"] == one["id"]


async def _not_added(app: Any, children: Callable[[], list[Any]]) -> None:
    parent = await _run(app, "orphans")
    assert parent["children"] == []
    assert [one["parent_id"] for one in children()] == [parent["id"]] * SENDS


async def _taking_turns(app: Any, children: Callable[[], list[Any]]) -> None:
    results = [await app.tasks["awaiting"].adelay() for _ in range(8)]
    parents = [await result.aget(timeout=10) for result in results]
    headers = children()
    assert len(headers) == 8 * SENDS
    for parent in parents:
        _family(parent, [one for one in headers if one["id"] in parent["children"]])


async def test_interleaved_requests_in_one_thread(
    app: Any, children: Callable[[], list[Any]]
) -> None:
    # As upstream's tracer does it, without a worker: the request is on the stacks of
    # the thread when the loop starts.
    task = app.tasks["awaiting"]
    found: dict[str, Any] = {}
    seen: list[Any] = []

    def run(name: str) -> None:
        async def body() -> None:
            assert current_task.request.id == name
            for n in range(SENDS):
                result = await app.tasks["child"].adelay(n)
                seen.append(result.parent)
            await aclose()

        # Else no children are kept: it would be somebody's plain call.
        request: dict[str, Any] = {"called_directly": False, "children": []}
        task.push_request(id=name, root_id=f"root-{name}", **request)
        push_current_task(task)
        try:
            asyncio.run(body())
            found[name] = [result.id for result in task.request.children]
        finally:
            pop_current_task()
            task.pop_request()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert seen == [None] * 2 * SENDS  # `parent` is the place in a chain
    headers = {one["id"]: one for one in children()}
    assert len(headers) == 2 * SENDS
    for name in ("one", "two"):
        assert len(found[name]) == SENDS
        for one in found[name]:
            assert headers[one]["parent_id"] == name
            assert headers[one]["root_id"] == f"root-{name}"


async def test_every_thread_and_loop_has_its_own_reply_to(
    app: Any, tier: str, redis_url: str, unique: str
) -> None:
    expected: dict[int, str] = {}

    async def body(n: int) -> None:
        for _ in range(SENDS):
            await app.tasks["child"].adelay(n)
        await aclose()

    def run(n: int) -> None:
        expected[n] = app.thread_oid
        asyncio.run(body(n))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    with redis.Redis.from_url(redis_url) as client:
        found = client.lrange(f"{unique}:{unique}.children", 0, -1)
    messages = [json.loads(one) for one in found]
    assert len(messages) == 3 * SENDS
    if tier != tiers.THREAD:  # there the sending thread is the bridge's
        for one in messages:
            n = int(one["headers"]["argsrepr"][1:-2])
            assert one["properties"]["reply_to"] == expected[n]
