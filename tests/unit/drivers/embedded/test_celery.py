"""Celery on `embedded://`: broker and results."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord, group
from celery.exceptions import TimeoutError as CeleryTimeoutError

import celery_async_bridge
from celery_async_bridge.testing.tripwire import tripwire
from tests.unit.drivers.embedded.help import place

if TYPE_CHECKING:
    from celery_async_bridge.drivers.embedded.backend import EmbeddedBackend


def _app(url: str) -> Any:
    app = Celery("embedded", broker=url, backend=url, set_as_current=False)

    @app.task(name="add", shared=False)  # type: ignore[untyped-decorator,unused-ignore]
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total", shared=False)  # type: ignore[untyped-decorator,unused-ignore]
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="again", bind=True, shared=False)  # type: ignore[untyped-decorator,unused-ignore]
    def again(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0.01)
        return int(self.request.retries)

    return app


def test_tasks_canvas_eta_retries_and_control(url: str) -> None:
    app = _app(url)
    add, total, again = (app.tasks[name] for name in ("add", "total", "again"))

    async def main() -> None:
        async with celery_async_bridge.embedded_worker(app):
            assert await (await add.adelay(2, 3)).aget(timeout=30) == 5
            parts: Any = group(add.s(n, n) for n in range(5))
            many = await parts.aapply_async()
            assert await many.ajoin(timeout=30) == [0, 2, 4, 6, 8]
            whole: Any = chord([add.s(n, n) for n in range(5)], total.s())
            sums = await whole.aapply_async()
            assert await sums.aget(timeout=30) == 20
            begun = time.monotonic()
            later = await add.aapply_async((1, 1), countdown=0.2)
            assert await later.aget(timeout=30) == 2
            assert time.monotonic() - begun >= 0.19
            assert await (await again.adelay()).aget(timeout=30) == 1
            replies = await app.control.aping(timeout=30, limit=1)
            assert [list(reply.values()) for reply in replies] == [[{"ok": "pong"}]]

    asyncio.run(main())


def test_eta_holds_no_message_in_a_worker(url: str) -> None:
    app = _app(url)

    async def main() -> None:
        async with celery_async_bridge.embedded_worker(app):
            for _ in range(3):
                await app.tasks["add"].aapply_async((1, 1), countdown=600)
            inspect = app.control.inspect(timeout=30, limit=1)
            (scheduled,) = (await inspect.ascheduled()).values()
            (reserved,) = (await inspect.areserved()).values()
            assert not scheduled
            assert not reserved

    asyncio.run(main())


def test_sync_wait_is_woken_by_the_result(url: str) -> None:
    backend: EmbeddedBackend = _app(url).backend
    looks = 0
    look = backend.store.get

    def counted(key: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(key)

    backend.store.get = counted
    waiting = threading.Event()
    found: list[Any] = []

    def wait() -> None:
        waiting.set()
        found.append(backend.wait_for("id", timeout=30))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(30)
    backend.store_result("id", 42, "SUCCESS")
    thread.join(30)
    assert found[0]["result"] == 42
    # One look before, one or two around the result, one of the writer.
    assert looks <= 5
    with pytest.raises(CeleryTimeoutError):
        backend.wait_for("other", timeout=0.01)


def test_many_waits_end_with_the_last_result(url: str) -> None:
    backend: Any = _app(url).backend
    ids = [f"id{n}" for n in range(3)]
    backend.store_result(ids[0], 0, "SUCCESS")

    def store() -> None:
        for n in (1, 2):
            backend.store_result(ids[n], n, "SUCCESS")

    thread = threading.Thread(target=store)
    thread.start()
    found = {task_id: meta["result"] for task_id, meta in backend.get_many(ids, 30)}
    thread.join(30)
    assert found == {"id0": 0, "id1": 1, "id2": 2}
    with pytest.raises(CeleryTimeoutError):
        list(backend.get_many(["never"], timeout=0.01))


def test_thousand_waiters_on_one_loop_take_no_thread(url: str) -> None:
    app = _app(url)

    async def main() -> None:
        results = [app.AsyncResult(f"id{n}") for n in range(1000)]
        waits = [asyncio.create_task(one.aget(timeout=60)) for one in results]
        await asyncio.sleep(0)
        for n in range(1000):
            app.backend.store_result(f"id{n}", n, "SUCCESS")
        assert await asyncio.gather(*waits) == list(range(1000))

    before = threading.active_count()
    with tripwire():
        asyncio.run(main())
    assert threading.active_count() <= before


def test_stores_of_two_names_do_not_meet(url: str) -> None:
    with place() as other:
        one, two = _app(url).backend, _app(other).backend
        one.store_result("id", 1, "SUCCESS")
        assert one.get_state("id") == "SUCCESS"
        assert two.get_state("id") == "PENDING"
