"""Twins for `celery.canvas`: `Signature`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._planned import apply_signature, delay_signature
from .._sending import sends
from ._canvas import CanvasMixin, applies

if TYPE_CHECKING:
    from celery.result import AsyncResult

__all__ = ("SignatureMixin",)


class SignatureMixin(CanvasMixin):
    """Awaitable methods of `celery.Signature`.

    What sends runs upstream's own method, natively where both broker and result backend
    have a driver, else in a thread. Deadline: `publish_timeout`, else the setting
    `async_publish_timeout`. With `task_always_eager` the tasks run here: on this loop
    if one of them is async, else in a thread.
    """

    @sends(option="", planned=delay_signature, many=True)
    async def adelay(
        self, *partial_args: Any, **partial_kwargs: Any
    ) -> AsyncResult[Any]:
        """Await the sending of this signature with more arguments.

        Mirrors `celery.canvas.Signature.delay`. Every argument is the task's.

        Raises:
            TypeError: the arguments do not fit the task.
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    async def aresult(self) -> Any:
        """Await the sending of this signature, and then the value of its result.

        It stands for `~signature`, an operator that nobody can await.
        """
        result: Any = await self.aapply_async()
        return await result.aget()

    @applies
    async def aapply(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Await the running of this signature in this process, and its eager result.

        Mirrors `celery.canvas.Signature.apply`.

        Arguments:
            args: arguments to put before its own.
            kwargs: keyword arguments to add to its own.
            options: options of `celery.Task.apply`.

        Raises:
            NotRegistered: its task is not registered in this process.
        """
        ...

    @sends(planned=apply_signature)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        route_name: str | None = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this signature with more arguments and options.

        Mirrors `celery.canvas.Signature.apply_async`.

        Arguments:
            args: arguments to put before its own.
            kwargs: keyword arguments to add to its own.
            route_name: the name to route by.
            publish_timeout: seconds for the send; default `async_publish_timeout`.
            options: options of `celery.Task.apply_async`.

        Raises:
            TypeError: the arguments do not fit the task.
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @leaf
    async def aelection(self) -> AsyncResult[Any]:
        """Await the call for an election: one worker runs this signature.

        Mirrors `celery.canvas.Signature.election`, errors of upstream included.
        """
        ...
