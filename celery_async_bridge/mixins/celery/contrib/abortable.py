"""Twins for `celery.contrib.abortable`."""

from __future__ import annotations

from typing import Any

from ..._twin import leaf

__all__ = ("AbortableAsyncResultMixin", "AbortableTaskMixin")


class AbortableAsyncResultMixin:
    """Awaitable methods of `AbortableAsyncResult`, next to those of `AsyncResult`."""

    @leaf
    async def ais_aborted(self) -> bool:
        """Await the answer whether the task was told to stop.

        Mirrors `celery.contrib.abortable.AbortableAsyncResult.is_aborted`.

        Raises:
            TimeoutError: (`BackendTimeout`) no answer before the deadline.
        """
        ...

    @leaf
    async def aabort(self) -> Any:
        """Await the request to the task to stop.

        Mirrors `celery.contrib.abortable.AbortableAsyncResult.abort`. The task must
        look at `is_aborted` by itself.

        Raises:
            TimeoutError: (`BackendTimeout`) no answer before the deadline.
        """
        ...


class AbortableTaskMixin:
    """Awaitable methods of `AbortableTask`, next to those of `Task`."""

    @leaf(route="_bridge_backend_route")
    async def ais_aborted(self, **kwargs: Any) -> bool:
        """Await the answer whether this task was told to stop.

        Mirrors `celery.contrib.abortable.AbortableTask.is_aborted`.

        Arguments:
            kwargs: `task_id`, if it is not the running task.

        Raises:
            TimeoutError: (`BackendTimeout`) no answer before the deadline.
        """
        ...
