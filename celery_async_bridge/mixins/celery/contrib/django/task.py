"""Twins for `celery.contrib.django.task`."""

from __future__ import annotations

from typing import Any

from .....core.route import Route
from ...._twin import leaf

__all__ = ("DjangoTaskMixin",)


class DjangoTaskMixin:
    """Awaitable methods of `DjangoTask`, next to those of `Task`.

    They run in the thread that has Django's connections: only there a transaction that
    is open is known. The task is sent by that thread at the commit.
    """

    def _bridge_commit_route(self) -> Route:
        return Route(endpoints=(), sensitive=True)

    @leaf(route="_bridge_commit_route", unbounded=True)
    async def adelay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Await the registration of this task for the commit of the transaction.

        Mirrors `celery.contrib.django.task.DjangoTask.delay_on_commit`. Without a
        transaction the task is sent at once; after a rollback never.
        """
        ...

    @leaf(route="_bridge_commit_route", unbounded=True)
    async def aapply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Await the registration of this task, with options, for the commit.

        Mirrors `celery.contrib.django.task.DjangoTask.apply_async_on_commit`. Without a
        transaction the task is sent at once; after a rollback never.
        """
        ...
