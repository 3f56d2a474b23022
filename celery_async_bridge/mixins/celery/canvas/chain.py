"""Twins for `celery.canvas`: `chain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._sending import sends
from ._canvas import CanvasMixin, applies

if TYPE_CHECKING:
    from celery.result import AsyncResult

__all__ = ("ChainMixin",)


class ChainMixin(CanvasMixin):
    """Awaitable methods of `celery.chain`; tiers and deadline as for `Signature`."""

    @sends(of="__call__", option="", many=True)
    async def acall(self, *args: Any, **kwargs: Any) -> AsyncResult[Any] | None:
        """Await the sending of this chain; nothing happens if it is empty.

        Mirrors `celery.canvas.chain.__call__`. Every argument is the first task's.
        """
        ...

    @sends(many=True)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this chain and return its result handle.

        Mirrors `celery.canvas.chain.apply_async`.

        Arguments:
            args: arguments for the first task.
            kwargs: keyword arguments for the first task.
            publish_timeout: seconds for all sends; default `async_publish_timeout`.
            options: options of `celery.Task.apply_async`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
                Some of the tasks may have been sent, also behind a refused one.
        """
        ...

    @sends(many=True)
    async def arun(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        group_id: str | None = None,
        chord: Any = None,
        task_id: str | None = None,
        link: Any = None,
        link_error: Any = None,
        publisher: Any = None,
        producer: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        app: Any = None,
        group_index: int | None = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this chain, without the options stored in it.

        Mirrors `celery.canvas.chain.run`.

        Arguments:
            args: arguments for the first task.
            kwargs: keyword arguments for the first task.
            group_id: the group that it belongs to.
            chord: the body of the chord that it belongs to.
            task_id: the id of its last task.
            link: signatures to call on success.
            link_error: signatures to call on failure.
            publisher: older name of `producer`.
            producer: send with this producer instead of a pooled one.
            root_id: the id of the first task of its workflow.
            parent_id: the id of the task that sends it.
            app: the app to send with.
            group_index: its place in its group.
            publish_timeout: seconds for the send; default `async_publish_timeout`.
            options: options of `celery.Task.apply_async`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @applies
    async def aapply(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Await the running of this chain in this process, and its eager result.

        Mirrors `celery.canvas.chain.apply`.

        Arguments:
            args: arguments for the first task.
            kwargs: keyword arguments for the first task.
            options: options of `celery.Task.apply`.
        """
        ...

    @leaf
    async def afreeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult[Any]:
        """Await the result handle of this chain before it is sent.

        Mirrors `celery.canvas.chain.freeze`, which may ask the backend to notify.

        Arguments:
            _id: the id to give it.
            group_id: the group that it belongs to.
            chord: the body of the chord that it belongs to.
            root_id: the id of the first task of its workflow.
            parent_id: the id of the task that sends it.
            group_index: its place in its group.
        """
        ...
