"""Twins for `celery.result.EagerResult`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....core.route import Endpoint, Route
from ..._twin import leaf, reads

__all__ = ("EagerResultMixin",)

# What an eager task has left lies in this process, as with the in-memory backend: its
# driver runs the sync method where we are.
_HERE = Route(
    endpoints=(Endpoint("backend", "cache+memory", "eager", "an eager result"),)
)


class EagerResultMixin:
    """Awaitable methods of `celery.result.EagerResult`; none of them waits."""

    def _bridge_route(self) -> Route:
        return _HERE

    @leaf
    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Await the value that the task returned, or raise what it raised.

        Mirrors `celery.result.EagerResult.get`.
        """
        ...

    @leaf
    async def aforget(self) -> None:
        """Do nothing, as the sync method.

        Mirrors `celery.result.EagerResult.forget`.
        """
        ...

    @leaf
    async def arevoke(self, *args: Any, **kwargs: Any) -> None:
        """Mark the result as revoked.

        Mirrors `celery.result.EagerResult.revoke`.
        """
        ...

    @leaf
    async def athen(
        self,
        callback: Callable[..., object],
        on_error: Callable[..., object] | None = None,
        weak: bool = False,
    ) -> Any:
        """Call back at once: the task has been executed.

        Mirrors `celery.result.EagerResult.then`.
        """
        ...

    @leaf
    async def aready(self) -> bool:
        """Return True: the task has been executed.

        Mirrors `celery.result.EagerResult.ready`.
        """
        ...

    @reads
    async def aresult(self) -> Any:
        """Return what the task has returned or raised.

        Mirrors `celery.result.EagerResult.result`.
        """
        ...

    @reads
    async def astate(self) -> str:
        """Return the state of the task.

        Mirrors `celery.result.EagerResult.state`.
        """
        ...

    @reads
    async def atraceback(self) -> str | None:
        """Return the traceback of a failed task, as text.

        Mirrors `celery.result.EagerResult.traceback`.
        """
        ...
