"""Twins for `celery.canvas`: `chunks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import compound
from .._sending import sends
from ._canvas import CanvasMixin

if TYPE_CHECKING:
    from celery.result import GroupResult

__all__ = ("ChunksMixin",)


class ChunksMixin(CanvasMixin):
    """Awaitable methods of `celery.chunks`; tiers and deadline as for `Signature`."""

    @sends(many=True)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        publish_timeout: float | None = None,
        **opts: Any,
    ) -> GroupResult:
        """Await the sending of this chunks and return its result handle.

        Mirrors `celery.canvas.chunks.apply_async`.

        Arguments:
            args: arguments without effect: it has its own.
            kwargs: keyword arguments without effect: it has its own.
            publish_timeout: seconds for all sends; default `async_publish_timeout`.
            opts: options of `celery.Task.apply_async`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
                Some of the tasks may have been sent, also behind a refused one.
        """
        ...

    @classmethod
    @compound("apply_chunks", "leaf")
    async def aapply_chunks(
        cls, task: Any, it: Any, n: int, app: Any = None
    ) -> GroupResult:
        """Await the sending of the calls in `it`, `n` to a message.

        Mirrors `celery.canvas.chunks.apply_chunks`.

        Arguments:
            task: the signature to call.
            it: the arguments of each call.
            n: calls in one message.
            app: the app to send with.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
                Some of the messages may have been sent, also behind a refused one.
        """
        made: Any = cls
        parts: GroupResult = await made(task, it, n, app=app).aapply_async()
        return parts
