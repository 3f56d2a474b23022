"""django-celery-results and django-celery-beat beside the bridge."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async

import celery_async_bridge
from tests.integration.apps import an_app
from tests.integration.django import proj, site
from tests.redis_servers import eventually

pytest.importorskip("django")

TASKS = 20


def migrated(*labels: str) -> None:
    from django.core.management import call_command

    for label in labels:
        pytest.importorskip(label)
        call_command("migrate", label, verbosity=0, database="default")
    site.close_all()


@pytest.fixture(scope="module")
def _results(_site: None) -> None:
    migrated("django_celery_results")


@pytest.fixture
def entries(_site: None) -> Iterator[Any]:
    """The tables of beat, empty at the end."""
    migrated("django_celery_beat")
    models = importlib.import_module("django_celery_beat.models")
    yield models
    models.PeriodicTask.objects.all().delete()
    models.IntervalSchedule.objects.all().delete()


@pytest.fixture
def stored(_results: None, unique: str) -> Iterator[Any]:
    """An app that stores results with Django's ORM."""
    with an_app(f"embedded://{unique}", "django-db", unique) as app:
        proj.add_tasks(app)
        yield app


async def test_results_are_stored_and_awaited(
    stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with celery_async_bridge.embedded_worker(stored, concurrency=5):
        sent = [
            await task.adelay(str(number), "other")
            for task in (stored.write, stored.write_sync)
            for number in range(TASKS)
        ]
        values = await asyncio.gather(*(one.aget(timeout=60) for one in sent))
        assert all(values)
        closed = partial(_closed, "default")
        await asyncio.to_thread(eventually, closed, what="closing")
    assert [await one.astate() for one in sent[:3]] == ["SUCCESS"] * 3
    await sent[0].aforget()
    assert await stored.AsyncResult(sent[0].id).astate() == "PENDING"
    assert "SynchronousOnlyOperation" not in caplog.text
    await sync_to_async(_forget_notes)()


def _closed(alias: str) -> bool:
    return site.open_connections(alias) == 0


def _forget_notes() -> None:
    from tests.integration.django.notes.models import Note

    Note.objects.using("other").delete()


async def test_many_calls_leave_no_connection(stored: Any) -> None:
    for number in range(50):
        task_id = f"task {number}"
        await stored.backend.astore_result(task_id, number, "SUCCESS")
        assert await stored.AsyncResult(task_id).aget(timeout=60) == number
    assert site.open_connections("default") == 0


async def test_the_database_scheduler_sends_async_tasks(
    entries: Any, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from django_celery_beat.schedulers import DatabaseScheduler

    def beat() -> None:
        every = entries.IntervalSchedule.objects.create(every=1, period="microseconds")
        entries.PeriodicTask.objects.create(
            name="a note", task="notes.write", args='["beat", "other"]', interval=every
        )
        scheduler = DatabaseScheduler(app=app)

        def written() -> bool:
            from tests.integration.django.notes.models import Note

            scheduler.tick()
            return Note.objects.using("other").filter(text="beat").exists()

        eventually(written, what="the note")
        scheduler.sync()

    async with celery_async_bridge.embedded_worker(app):
        await sync_to_async(beat)()
    await sync_to_async(_forget_notes)()
    assert "SynchronousOnlyOperation" not in caplog.text
