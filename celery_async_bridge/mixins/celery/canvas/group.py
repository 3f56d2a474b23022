"""Twins for `celery.canvas`: `group`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._sending import sends
from ._canvas import CanvasMixin, applies

if TYPE_CHECKING:
    from celery.result import GroupResult

__all__ = ("GroupMixin",)


class GroupMixin(CanvasMixin):
    """Awaitable methods of `celery.group`; tiers and deadline as for `Signature`."""

    @sends(many=True)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> GroupResult:
        """Await the sending of this group and return its result handle.

        Mirrors `celery.canvas.group.apply_async`.

        Arguments:
            args: arguments for every task.
            kwargs: keyword arguments for every task.
            add_to_parent: list it as a child of the running task.
            producer: send with this producer instead of a pooled one.
            link: must be None: upstream refuses it for groups.
            link_error: must be None: upstream refuses it for groups.
            publish_timeout: seconds for all sends; default `async_publish_timeout`.
            options: options of `celery.Task.apply_async`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
                Some of the tasks may have been sent, also behind a refused one.
        """
        ...

    @applies
    async def aapply(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Await the running of this group in this process, and its eager result.

        Mirrors `celery.canvas.group.apply`.

        Arguments:
            args: arguments for every task.
            kwargs: keyword arguments for every task.
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
    ) -> GroupResult:
        """Await the result handle of this group before it is sent.

        Mirrors `celery.canvas.group.freeze`, which may ask the backend to notify.

        Arguments:
            _id: the id to give it.
            group_id: the group that it belongs to.
            chord: the body of the chord that it belongs to.
            root_id: the id of the first task of its workflow.
            parent_id: the id of the task that sends it.
            group_index: its place in its group.
        """
        ...
