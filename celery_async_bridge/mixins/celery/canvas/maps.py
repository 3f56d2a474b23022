"""Twins for `celery.canvas`: `xmap` and `xstarmap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._sending import sends
from ._canvas import CanvasMixin

if TYPE_CHECKING:
    from celery.result import AsyncResult

__all__ = ("BaseMapMixin",)


class BaseMapMixin(CanvasMixin):
    """Awaitable methods of `celery.xmap` and `celery.xstarmap`, as for `Signature`."""

    @sends()
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        publish_timeout: float | None = None,
        **opts: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this xmap and return its result handle.

        Mirrors `celery.canvas.xmap.apply_async`.

        Arguments:
            args: arguments without effect: it has its own.
            kwargs: keyword arguments without effect: it has its own.
            publish_timeout: seconds for all sends; default `async_publish_timeout`.
            opts: options of `celery.Task.apply_async`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline,
                then some of the tasks may have been sent.
        """
        ...
