"""A class for tasks of Django projects whose twins are visible without `install()`."""

from __future__ import annotations

from celery.contrib.django.task import DjangoTask

from ...mixins.celery.app.task import TaskMixin
from ...mixins.celery.contrib.django.task import DjangoTaskMixin

__all__ = ("AsyncDjangoTask",)


class AsyncDjangoTask(DjangoTaskMixin, TaskMixin, DjangoTask):  # type: ignore[type-arg]
    """Celery's task for Django, with its awaitable twins by inheritance.

    For `Celery(task_cls=...)` or `@app.task(base=...)`. `install()` gives every
    `DjangoTask` the same methods; then this class is for type checkers and readers.
    """

    abstract = True
