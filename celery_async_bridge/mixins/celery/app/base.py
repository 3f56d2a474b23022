"""Twins for `celery.app.base`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ....core.loops import aclose_loop
from ..._twin import compound, leaf, reads
from .._holding import Holding, holds
from .._planned import send_by_name
from .._route import app_route, backend_route, local_route
from .._sending import sends, way_of
from .context import ContextMixin

if TYPE_CHECKING:
    from celery.result import AsyncResult

    from ....core.route import Route

__all__ = ("CeleryMixin",)

_OMITTED: Any = object()
Self = TypeVar("Self", bound="CeleryMixin")


class CeleryMixin(ContextMixin):
    """Awaitable methods of `celery.Celery`.

    Each runs natively where the broker (for sends: the result backend, too) has a
    driver, else in a thread. Deadline: the setting `async_publish_timeout`.
    """

    if TYPE_CHECKING:
        amqp: Any
        close: Callable[[], None]

    def _bridge_route(self) -> Route:
        return app_route(self)

    def _bridge_backend_route(self) -> Route:
        return backend_route(self)

    def _bridge_local_route(self) -> Route:
        return local_route(self)

    def _bridge_send_route(self, given: Mapping[str, Any]) -> Route:
        return way_of(self, given)

    def _bridge_eager(self) -> None:
        # Upstream sends by name in eager mode, too, and warns.
        return None

    @sends(planned=send_by_name)
    async def asend_task(
        self,
        name: str,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        expires: Any = _OMITTED,
        publisher: Any = None,
        link: Any = None,
        link_error: Any = None,
        add_to_parent: bool = True,
        group_id: str | None = None,
        group_index: int | None = None,
        retries: int = 0,
        chord: Any = None,
        reply_to: str | None = None,
        time_limit: float | None = _OMITTED,
        soft_time_limit: float | None = _OMITTED,
        root_id: str | None = None,
        parent_id: str | None = None,
        route_name: str | None = None,
        shadow: str | None = None,
        chain: list[Any] | None = None,
        task_type: Any = None,
        replaced_task_nesting: int = 0,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of a task by name and return its result handle.

        Mirrors `celery.app.base.Celery.send_task`, in eager mode, too: it sends, with
        upstream's warning. A `producer` or `connection` of the caller is used by one
        call at a time.

        Arguments:
            name: the name of the task, which need not be registered here.
            args: the task's positional arguments.
            kwargs: the task's keyword arguments.
            countdown: seconds until the task may run.
            eta: the time before which it must not run.
            task_id: the id to send it under.
            producer: send with this producer instead of a pooled one.
            connection: send on this connection instead of a pooled one.
            router: the router to ask instead of the app's.
            result_cls: the class of the handle.
            expires: seconds, or the time, after which it is dropped.
            publisher: older name of `producer`.
            link: signatures to call on success.
            link_error: signatures to call on failure.
            add_to_parent: list it as a child of the running task.
            group_id: the group it belongs to.
            group_index: its place there.
            retries: the attempt it counts as.
            chord: the body of the chord it belongs to.
            reply_to: the queue for its reply, where the backend uses one.
            time_limit: seconds before its process is killed.
            soft_time_limit: seconds before it is interrupted.
            root_id: the id of the first task of its workflow.
            parent_id: the id of the task that sends it.
            route_name: the name to route by.
            shadow: the name to show in logs.
            chain: the tasks that follow it.
            task_type: the task object, if there is one.
            replaced_task_nesting: how often it was replaced.
            publish_timeout: seconds for the send; default `async_publish_timeout`.
            options: options of `kombu.Producer.publish`.

        Raises:
            EncodeError: the arguments cannot be serialized.
            OperationalError: the broker refused; `PublishTimeout` after the deadline,
                with the `task_id` that was given.
        """
        ...

    @holds("connection", "pool")
    def aconnection_or_acquire(
        self, connection: Any = None, pool: bool = True, *_: Any, **__: Any
    ) -> Holding:
        """Await a broker connection: the given one, or one from the pool.

        Mirrors `celery.app.base.Celery.connection_or_acquire`, for `async with`.

        Arguments:
            connection: returned as it is, and not released, if given.
            pool: take it from the pool, do not open a new one.

        Raises:
            OperationalError: no connection became free; `PublishTimeout` after the
                deadline.
        """
        ...

    @holds("producer")
    def aproducer_or_acquire(self, producer: Any = None) -> Holding:
        """Await a producer: the given one, or one from the pool.

        Mirrors `celery.app.base.Celery.producer_or_acquire`, for `async with`.

        Arguments:
            producer: returned as it is, and not released, if given.

        Raises:
            OperationalError: no producer became free; `PublishTimeout` after the
                deadline.
        """
        ...

    @reads
    async def apool(self) -> Any:
        """Await the app's pool of broker connections.

        Mirrors `celery.app.base.Celery.pool`.
        """
        ...

    @compound("producer_pool", "read")
    async def aproducer_pool(self) -> Any:
        """Await the app's pool of producers.

        Mirrors `celery.app.base.Celery.producer_pool`.
        """
        # Not by its own name: calls on the loop find the loop's producers there.
        return await self.amqp.aproducer_pool()

    @reads(route="_bridge_backend_route")
    async def abackend(self) -> Any:
        """Await the app's result backend, which may connect to be made.

        Mirrors `celery.app.base.Celery.backend`. In the thread tier it is the one of
        the thread that made it; its own a-methods find their way from anywhere.
        """
        ...

    @leaf(route="_bridge_local_route")
    async def abugreport(self) -> str:
        """Await a report of versions and settings, to be sent with a bug.

        Mirrors `celery.app.base.Celery.bugreport`.
        """
        ...

    async def aclose(self) -> None:
        """Await the closing of what the bridge holds for this loop, and of the app.

        Mirrors `celery.app.base.Celery.close`.
        """
        await aclose_loop()
        self.close()

    async def __aenter__(self: Self) -> Self:
        """Enter the app, to close it at the end of the block."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Await the closing of the app, as `aclose` does."""
        await self.aclose()
