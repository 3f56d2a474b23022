"""Twins for `celery.canvas`: `chord`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._sending import sends
from ._canvas import CanvasMixin, applies

if TYPE_CHECKING:
    from celery.result import AsyncResult

__all__ = ("ChordMixin",)


class ChordMixin(CanvasMixin):
    """Awaitable methods of `celery.chord`; tiers and deadline as for `Signature`."""

    @sends(many=True)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        publisher: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this chord and return its result handle.

        Mirrors `celery.canvas.chord.apply_async`.

        Arguments:
            args: arguments for the tasks of the header.
            kwargs: keyword arguments for the tasks of the header.
            task_id: the id of the body.
            producer: accepted, and not used by upstream.
            publisher: accepted, and not used by upstream.
            connection: accepted, and not used by upstream.
            router: accepted, and not used by upstream.
            result_cls: accepted, and not used by upstream.
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
        header: Any,
        body: Any,
        partial_args: tuple[Any, ...],
        app: Any = None,
        interval: float | None = None,
        countdown: float = 1,
        max_retries: int | None = None,
        eager: bool = False,
        task_id: str | None = None,
        kwargs: dict[str, Any] | None = None,
        header_delay: dict[str, Any] | None = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of a header that calls `body` when it is done.

        Mirrors `celery.canvas.chord.run`.

        Arguments:
            header: the group to run first.
            body: the signature that gets its results.
            partial_args: arguments for the tasks of the header.
            app: the app to send with.
            interval: seconds between looks at the header, where the backend cannot
                count.
            countdown: seconds until the first look.
            max_retries: how often to look.
            eager: accepted, and not used by upstream.
            task_id: the id of the body.
            kwargs: keyword arguments for the tasks of the header.
            header_delay: `countdown` and `eta` of the header (Celery 5.7).
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
        propagate: bool = True,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Await the running of header and body in this process, and the eager result.

        Mirrors `celery.canvas.chord.apply`.

        Arguments:
            args: arguments for the tasks of the header.
            kwargs: keyword arguments for the tasks of the header.
            propagate: raise the error of a task of the header.
            body: run this body instead of its own.
            options: accepted, and not used by upstream.
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
        """Await the result handle of this chord before it is sent.

        Mirrors `celery.canvas.chord.freeze`, which may ask the backend to notify.

        Arguments:
            _id: the id to give it.
            group_id: the group that it belongs to.
            chord: the body of the chord that it belongs to.
            root_id: the id of the first task of its workflow.
            parent_id: the id of the task that sends it.
            group_index: its place in its group.
        """
        ...
