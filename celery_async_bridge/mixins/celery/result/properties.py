"""Twins for the properties of `celery.result.AsyncResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import reads
from ..backends._route import backend_object_route

if TYPE_CHECKING:
    from datetime import datetime

    from ....core.route import Route

__all__ = ("ResultPropertiesMixin",)


class ResultPropertiesMixin:
    """Coroutine methods for the properties that read the result backend.

    Each makes one read, or none when the task is known to be ready.
    """

    backend: Any

    def _bridge_route(self) -> Route:
        return backend_object_route(self.backend)

    @reads
    async def astate(self) -> str:
        """Await the task's current state; `PENDING` also if it is unknown.

        Mirrors `celery.result.AsyncResult.state`.
        """
        ...

    @reads
    async def astatus(self) -> str:
        """Await the task's current state.

        Mirrors `celery.result.AsyncResult.status`, the older name of `state`.
        """
        ...

    @reads
    async def aresult(self) -> Any:
        """Await what the task has returned, raised, or stored so far.

        Mirrors `celery.result.AsyncResult.result`. It does not wait for the task.
        """
        ...

    @reads
    async def ainfo(self) -> Any:
        """Await what the task has stored so far, its progress for example.

        Mirrors `celery.result.AsyncResult.info`, another name of `result`.
        """
        ...

    @reads
    async def atraceback(self) -> str | None:
        """Await the traceback of a failed task, as text.

        Mirrors `celery.result.AsyncResult.traceback`.
        """
        ...

    @reads
    async def achildren(self) -> list[Any] | None:
        """Await the results of the tasks that this task has sent.

        Mirrors `celery.result.AsyncResult.children`.
        """
        ...

    @reads
    async def agraph(self) -> Any:
        """Await the graph of this task and all that followed; it is kept.

        Mirrors `celery.result.AsyncResult.graph`.

        Raises:
            IncompleteStream: a task of the graph is not ready.
        """
        ...

    @reads
    async def aname(self) -> str | None:
        """Await the name of the task; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.name`.
        """
        ...

    @reads
    async def aargs(self) -> Any:
        """Await the positional arguments of the task; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.args`.
        """
        ...

    @reads
    async def akwargs(self) -> Any:
        """Await the keyword arguments of the task; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.kwargs`.
        """
        ...

    @reads
    async def aworker(self) -> str | None:
        """Await the name of the worker; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.worker`.
        """
        ...

    @reads
    async def adate_done(self) -> datetime | None:
        """Await the moment (UTC) at which the task became ready.

        Mirrors `celery.result.AsyncResult.date_done`.
        """
        ...

    @reads
    async def aretries(self) -> int | None:
        """Await how often the task was retried; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.retries`.
        """
        ...

    @reads
    async def aqueue(self) -> str | None:
        """Await the queue of the task; needs `result_extended`.

        Mirrors `celery.result.AsyncResult.queue`.
        """
        ...
