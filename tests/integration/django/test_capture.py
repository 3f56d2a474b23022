"""An async test of Django's own kind sees what is sent at the commit."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from celery import Celery, signals

pytest.importorskip("django")

from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from celery_async_bridge.contrib.django import (
    AsyncDjangoTask,
    async_on_commit_capture,
)


class Sending(SimpleTestCase):
    """A task, and what was sent of it."""

    def setUp(self) -> None:
        self.sent: list[Any] = []
        self.app = Celery("capture", broker="memory://", set_as_current=False)
        self.app.conf.task_default_queue = "capture"
        self.task: Any = self.app.task(base=AsyncDjangoTask, shared=False)(self.body)
        signals.after_task_publish.connect(self.note)
        self.addCleanup(self.app.close)
        self.addCleanup(signals.after_task_publish.disconnect, self.note)

    @staticmethod
    def body(number: int) -> int:
        return number

    def note(self, body: Any, **_: Any) -> None:
        self.sent.append(body[0])


class CaptureTests(Sending, TestCase):
    """The transaction around each test is never committed."""

    async def test_it_counts_callbacks(self) -> None:
        async with async_on_commit_capture() as callbacks:
            await self.task.adelay_on_commit(1)
            await self.task.aapply_async_on_commit((2,))
        assert len(callbacks) == 2
        assert self.sent == []

    async def test_it_executes_them(self) -> None:
        async with async_on_commit_capture(execute=True):
            await self.task.adelay_on_commit(1)
            assert self.sent == []
        assert self.sent == [(1,)]

    async def test_what_the_block_raises_is_raised(self) -> None:
        raised = False
        try:
            async with async_on_commit_capture() as callbacks:
                await self.task.adelay_on_commit(1)
                raise ZeroDivisionError
        except ZeroDivisionError:
            raised = True
        assert raised
        assert len(callbacks) == 1

    def test_the_sync_manager_is_djangos(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            self.task.delay_on_commit(1)
        assert (len(callbacks), self.sent) == (1, [(1,)])


class CommitTests(Sending, TransactionTestCase):
    """No transaction is around these tests."""

    async def test_it_is_sent_at_once_or_at_the_commit(self) -> None:
        await self.task.adelay_on_commit(1)
        assert self.sent == [(1,)]

        def island() -> None:
            with transaction.atomic():
                async_to_sync(self.task.adelay_on_commit)(2)
                assert self.sent == [(1,)]

        await sync_to_async(island)()
        assert self.sent == [(1,), (2,)]
