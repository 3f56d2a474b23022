"""The project's Celery app and its tasks, which write to the databases."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from asgiref.sync import sync_to_async
from celery import Celery


def add_tasks(app: Any) -> None:
    """Give an app the tasks of the project."""
    from celery.contrib.django.task import DjangoTask

    @app.task(shared=False, name="notes.write")
    async def write(text: str, alias: str) -> int:
        """Write a note with Django's async methods; the thread that did it."""
        from tests.integration.django.notes.models import Note

        note = await Note.objects.using(alias).acreate(text=text)
        await asyncio.sleep(0.02)
        await note.arefresh_from_db()
        return await sync_to_async(threading.get_ident)()

    @app.task(shared=False, name="notes.write_sync")
    def write_sync(text: str, alias: str) -> int:
        from tests.integration.django.notes.models import Note

        Note.objects.using(alias).create(text=text)
        return threading.get_ident()

    @app.task(shared=False, name="notes.rolled_back")
    async def rolled_back(text: str, alias: str) -> None:
        """Hold a transaction open until another task has written, and undo it."""
        from django.db import transaction

        from tests.integration.django.notes.models import Note

        notes = Note.objects.using(alias)
        atomic = transaction.atomic(using=alias)
        await sync_to_async(atomic.__enter__)()
        await notes.acreate(text=f"{text} in vain")
        while not await notes.filter(text=text).aexists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await sync_to_async(atomic.__exit__)(ValueError, ValueError(), None)

    @app.task(shared=False, name="keep", base=DjangoTask)
    def keep(number: int) -> int:
        return number

    app.write, app.write_sync, app.rolled_back = write, write_sync, rolled_back
    app.keep = keep


#: What sends the tasks of `django.tasks`.
task_app: Any = None

if os.environ.get("DJANGO_SETTINGS_MODULE") == "tests.integration.django.settings":
    app = Celery("proj")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    add_tasks(app)
    task_app = app
