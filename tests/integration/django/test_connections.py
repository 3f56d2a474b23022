"""Database connections of async tasks, and of calls in the bridge's own threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async

import celery_async_bridge
from celery_async_bridge.core import lane as lane_module
from celery_async_bridge.core.lane import lane_for
from celery_async_bridge.core.offload import offload, sensitive_to
from celery_async_bridge.core.route import Route
from tests.integration.django import proj, site
from tests.interop.processes import forget, stock_worker
from tests.redis_servers import eventually
from tests.sweep import ignore_unclosed

pytest.importorskip("django")

from celery_async_bridge.contrib.django.connections import (
    TaskThread,
    in_own_thread,
)

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 24


def texts(alias: str) -> list[str]:
    from tests.integration.django.notes.models import Note

    return list(Note.objects.using(alias).values_list("text", flat=True))


async def stored(alias: str) -> list[str]:
    from django.db import connections

    def look() -> list[str]:
        try:
            return texts(alias)
        finally:
            connections[alias].close()

    return await sync_to_async(look)()


@pytest.fixture(autouse=True)
def _no_notes(request: pytest.FixtureRequest) -> Iterator[None]:
    names = {"alias", "best_alias"} & set(request.fixturenames)
    aliases = [request.getfixturevalue(name) for name in names]
    yield
    for alias in aliases:
        from django.db import connections

        from tests.integration.django.notes.models import Note

        Note.objects.using(alias).delete()
        connections[alias].close()


@pytest.fixture
def lasting(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that requests leave open to each other."""
    from django.db import connections

    monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", None)


async def run_all(app: Any, alias: str, *names: str) -> list[Any]:
    sent = [
        await getattr(app, name).adelay(f"{name} {number}", alias)
        for name in names
        for number in range(TASKS)
    ]
    return [await result.aget(timeout=60) for result in sent]


async def test_async_tasks_leave_no_connection(app: Any, alias: str) -> None:
    async with celery_async_bridge.embedded_worker(app, concurrency=6):
        threads = await run_all(app, alias, "write", "write_sync")
        assert threading.get_ident() not in threads
        # Tasks that do not run at once use the same threads.
        assert len(set(threads[:TASKS])) <= 6
        await asyncio.to_thread(eventually, partial(closed, alias), what="closing")
    assert len(await stored(alias)) == 2 * TASKS


def closed(alias: str) -> bool:
    return site.open_connections(alias) == 0


async def test_connections_that_may_live_are_used_again(
    app: Any, alias: str, lasting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with celery_async_bridge.embedded_worker(app, concurrency=3):
        for _ in range(3):
            await run_all(app, alias, "write")
            assert site.open_connections(alias) <= 3 + 1
        monkeypatch.setattr(lane_module, "IDLE", 0.01)
        # What runs next waits so long, and no longer.
        await run_all(app, alias, "write")
        await asyncio.to_thread(eventually, partial(closed, alias), what="closing")


@pytest.mark.parametrize("alias", ["postgres"], indirect=True)
async def test_a_task_that_rolls_back_takes_nothing_of_another_with_it(
    app: Any, alias: str
) -> None:
    async with celery_async_bridge.embedded_worker(app):
        first = await app.rolled_back.adelay("a note", alias)
        await (await app.write.adelay("a note", alias)).aget(timeout=60)
        await first.aget(timeout=60)
    assert await stored(alias) == ["a note"]


async def test_a_transaction_outlives_a_pause_of_its_task(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction

    from tests.integration.django.notes.models import Note

    monkeypatch.setattr(lane_module, "IDLE", 0.001)
    thread = TaskThread()
    atomic = transaction.atomic(using=alias)
    with sensitive_to(thread):
        await sync_to_async(atomic.__enter__)()
        await Note.objects.using(alias).acreate(text="kept")
        before = await sync_to_async(threading.get_ident)()
        await asyncio.sleep(0.1)
        assert await sync_to_async(threading.get_ident)() == before
        await sync_to_async(atomic.__exit__)(None, None, None)
    job = thread.leave()
    assert job is not None
    await asyncio.wrap_future(job.finished)
    await asyncio.to_thread(eventually, partial(closed, alias), what="closing")
    assert await stored(alias) == ["kept"]


async def test_a_transaction_that_a_task_leaves_open_ends_with_it(
    alias: str, lasting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connections, transaction

    from tests.integration.django.notes.models import Note

    async def forgetful() -> int:
        async with in_own_thread():
            await sync_to_async(transaction.atomic(using=alias).__enter__)()
            await Note.objects.using(alias).acreate(text="in vain")
            return await sync_to_async(threading.get_ident)()

    def in_transaction() -> tuple[bool, int]:
        return connections[alias].in_atomic_block, threading.get_ident()

    async def next_one() -> tuple[bool, int]:
        async with in_own_thread():
            await Note.objects.using(alias).acreate(text="kept")
            return await sync_to_async(in_transaction)()

    thread = await forgetful()
    assert await next_one() == (False, thread)
    assert await stored(alias) == ["kept"]
    monkeypatch.setattr(lane_module, "IDLE", 0.01)
    async with in_own_thread():
        await sync_to_async(texts)(alias)
    await asyncio.to_thread(eventually, partial(closed, alias), what="closing")


async def test_a_cancelled_task_gives_its_thread_back(alias: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def query() -> None:
        texts(alias)
        begun.set()
        go_on.wait(60)

    async def task() -> None:
        async with in_own_thread():
            await sync_to_async(query)()

    running = asyncio.ensure_future(task())
    await asyncio.to_thread(begun.wait, 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    go_on.set()
    await asyncio.to_thread(eventually, partial(closed, alias), what="closing")


async def test_a_call_in_a_thread_of_the_bridge_leaves_no_connection(
    alias: str,
) -> None:
    route = Route(endpoints=())
    await offload(route, partial(texts, alias))
    assert site.open_connections(alias) == 0


async def test_the_end_of_a_thread_closes_what_may_live(
    alias: str, lasting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "IDLE", 0.01)
    lane = lane_for(("a lane of the test", alias), "test", 1)
    job = lane.add(partial(texts, alias))
    await asyncio.wrap_future(job.future)
    await asyncio.to_thread(eventually, partial(closed, alias), what="closing")


def test_eager_tasks_are_part_of_the_callers_transaction(app: Any, alias: str) -> None:
    from asgiref.sync import async_to_sync
    from django.db import transaction

    app.conf.task_always_eager = True
    try:
        with transaction.atomic(using=alias):
            assert async_to_sync(app.write_sync.adelay)("a", alias).get() is not None
            async_to_sync(app.write.adelay)("b", alias)
            assert texts(alias) == ["a", "b"]
            transaction.set_rollback(True, using=alias)
        assert texts(alias) == []
    finally:
        app.conf.task_always_eager = False


async def test_an_eager_task_may_run_an_async_one(app: Any, alias: str) -> None:
    """Its thread waits for a body that needs the same thread."""
    app.conf.task_always_eager = True

    @app.task(shared=False, name="outer")
    def outer() -> int:
        return int(app.write.delay("inner", alias).get(disable_sync_subtasks=False))

    try:
        result = await asyncio.wait_for(outer.adelay(), 60)
        assert result.get() == await sync_to_async(threading.get_ident)()
    finally:
        app.conf.task_always_eager = False


@ignore_unclosed
def test_a_real_worker(
    redis_url: str, unique: str, best_alias: str, tmp_path: Path
) -> None:
    from tests.integration.apps import an_app

    alias = best_alias
    log = tmp_path / "log"
    env = site.celery_environment(redis_url, unique)
    with an_app(redis_url, redis_url, unique) as app:
        proj.add_tasks(app)
        module = "tests.integration.django.proj"
        options = ("-c", "6", "-l", "INFO")
        with stock_worker(
            app, "asyncio", env, log, module=module, options=options, node="django"
        ):
            threads = asyncio.run(run_all(app, alias, "write", "write_sync"))
            assert len(set(threads[:TASKS])) <= 6
            if alias == "postgres":
                eventually(partial(closed, alias), what="closing")
    forget(redis_url, unique)
    said = log.read_text()
    assert said.count("succeeded in") == 2 * TASKS
    assert "SynchronousOnlyOperation" not in said
    assert "Traceback" not in said
    assert len(texts(alias)) == 2 * TASKS


def test_a_task_may_touch_a_connection_on_the_loop(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery closes what it finds at the end of a task; on a loop Django refuses."""
    from celery.fixups.django import DjangoWorkerFixup  # type: ignore[attr-defined]
    from celery.signals import task_postrun, task_prerun

    @app.task(shared=False, name="touching")
    async def touching() -> str:
        from django.db import connection

        return str(connection.vendor)

    fixup = DjangoWorkerFixup(app)
    task_prerun.connect(fixup.on_task_prerun)
    task_postrun.connect(fixup.on_task_postrun)

    async def main() -> Any:
        async with celery_async_bridge.embedded_worker(app):
            return await (await touching.adelay()).aget(timeout=60)

    try:
        assert asyncio.run(main()) == "sqlite"
    finally:
        task_prerun.disconnect(fixup.on_task_prerun)
        task_postrun.disconnect(fixup.on_task_postrun)
    assert "SynchronousOnlyOperation" not in caplog.text
