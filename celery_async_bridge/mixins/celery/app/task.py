"""Twins for `celery.app.task`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from functools import partial, wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ....core.dispatch import perform
from ..._twin import compound, leaf, reads
from .._planned import apply_async, delay
from .._route import app_route, backend_route, local_route
from .._sending import sends, way_of
from ._run import TaskRunMixin, run_eager

if TYPE_CHECKING:
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from ....core.route import Route
    from ....plan.bulk import Bulk

__all__ = ("TaskMixin",)


def _hook(fn: Any) -> Any:
    """Twin of a handler that users override, as a function or a coroutine function."""
    name = fn.__name__[1:]

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self, name), *args, **kwargs)
        value = await perform(self._bridge_local_route(), call)
        return await value if isawaitable(value) else value

    return compound(name, "leaf")(twin)


def _handling(error: BaseException | None, call: Callable[[], Any]) -> Any:
    """Run `call` as if in the `except` clause that handles `error`.

    A greenlet begins without a current exception, and `retry()` looks for one.
    """
    if error is None or sys.exc_info()[1] is not None:
        return call()
    trace = error.__traceback__
    try:
        raise error
    except BaseException:
        error.__traceback__ = trace
        return call()


def _again(fn: Any) -> Any:
    """Twin of `retry`, which looks at the exception being handled."""

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        from ....errors import PublishTimeout

        retry = partial(self.retry, *args, **kwargs)
        route = self._bridge_send_route(kwargs)
        call = partial(_handling, sys.exc_info()[1], retry)
        try:
            return await perform(route, call, deadline=route.deadline)
        except PublishTimeout as late:
            from celery.exceptions import Reject

            # What the sync method makes of a failed send.
            raise Reject(late, requeue=False) from late

    return compound("retry", "leaf")(twin)


def _replacing(fn: Any) -> Any:
    """Twin of a method that sends another signature, or runs it in an eager task."""
    name = fn.__name__[1:]

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self, name), *args, **kwargs)
        if self.request.is_eager:
            return await run_eager(self, call)
        route = self._bridge_route()
        return await perform(route, call, deadline=route.deadline)

    return compound(name, "leaf")(twin)


class TaskMixin(TaskRunMixin):
    """Awaitable methods of `celery.Task`.

    What sends runs upstream's own method, with every override and patch of it, natively
    where both broker and result backend have a driver, else in a thread. Deadline:
    `publish_timeout`, else the setting `async_publish_timeout` (10 seconds).
    """

    if TYPE_CHECKING:
        app: Any
        ignore_result: bool
        request: Any

    def _bridge_send_route(self, given: Mapping[str, Any]) -> Route:
        return way_of(self.app, {"ignore_result": self.ignore_result, **given})

    def _bridge_eager(self) -> Any:
        return self if self.app.conf.task_always_eager else None

    def _bridge_route(self) -> Route:
        return self._bridge_send_route({})

    def _bridge_backend_route(self) -> Route:
        return backend_route(self.app)

    def _bridge_broker_route(self) -> Route:
        return app_route(self.app)

    def _bridge_local_route(self) -> Route:
        return local_route(self.app)

    @sends(option="", planned=delay)
    async def adelay(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Await the sending of this task and return its result handle.

        Mirrors `celery.app.task.Task.delay`. Every argument is the task's; the deadline
        is the setting `async_publish_timeout`. With `task_always_eager` the task runs
        here instead: an async one on this loop, a sync one in a thread, without a
        deadline.

        Raises:
            TypeError: the arguments do not fit the task.
            EncodeError: the arguments cannot be serialized.
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @sends(planned=apply_async)
    async def aapply_async(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        *,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Await the sending of this task with options and return its result handle.

        Mirrors `celery.app.task.Task.apply_async`. Eager mode as in `adelay`. A
        `producer` or `connection` of the caller is used by one call at a time.

        Arguments:
            args: the task's positional arguments.
            kwargs: the task's keyword arguments.
            task_id: the id to send it under.
            producer: send with this producer instead of a pooled one.
            link: signatures to call on success.
            link_error: signatures to call on failure.
            shadow: the name to show in logs.
            publish_timeout: seconds for the send; default `async_publish_timeout`.
            options: all other options of the sync method.

        Raises:
            TypeError: the arguments do not fit the task.
            EncodeError: the arguments cannot be serialized.
            OperationalError: the broker refused; `PublishTimeout` after the deadline,
                with the `task_id` that was given.
        """
        ...

    def amap_delay(
        self,
        arguments: Iterable[Any] | AsyncIterable[Any],
        *,
        window: int | None = None,
        publish_timeout: float | None = None,
        **options: Any,
    ) -> Bulk:
        """Send this task once for each item: `await` it for a list, or iterate.

        The results come in the order of the items: a result handle each, or the
        exception that its send raised. Items are taken while there is room, so the
        source may be endless, and async.

        Arguments:
            arguments: for each send a tuple of arguments, or a mapping of keywords.
            window: sends that may be under way at once; default 512.
            publish_timeout: seconds for each send; default `async_publish_timeout`.
            options: options of `aapply_async`, the same for all sends.

        Raises:
            ValueError: the window has no room for one send.
        """
        from ....plan.bulk import Bulk

        def send(args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
            return self.aapply_async(
                args, kwargs, publish_timeout=publish_timeout, **options
            )

        return Bulk(arguments, send, window)

    @_again
    async def aretry(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Await the sending of this task again, then leave it by raising `Retry`.

        Mirrors `celery.app.task.Task.retry`.

        Arguments:
            args: positional arguments of the next attempt; default: the same.
            kwargs: keyword arguments of the next attempt; default: the same.
            exc: the reason, raised when no attempt is left.
            throw: raise `Retry`, do not return it.
            eta: the time of the next attempt.
            countdown: seconds until the next attempt.
            max_retries: attempts for this call, instead of the task's.
            options: options of `aapply_async`.

        Raises:
            Retry: always, unless `throw` is false.
            MaxRetriesExceededError: no attempt is left and no `exc` was given.
            Reject: the message could not be sent.
        """
        ...

    @_replacing
    async def areplace(self, sig: Signature[Any]) -> Any:
        """Await the sending of `sig` in place of this task.

        Mirrors `celery.app.task.Task.replace`; in an eager task `sig` runs here and its
        value is returned.

        Raises:
            Ignore: always, except in an eager task.
            ImproperlyConfigured: `sig` is part of a chord, or an empty chain.
        """
        ...

    @_replacing
    async def aon_replace(self, sig: Signature[Any]) -> Any:
        """Await the handler that sends `sig` in place of this task.

        Mirrors `celery.app.task.Task.on_replace`, and runs an override of it.

        Raises:
            Ignore: always, except in an eager task.
        """
        ...

    @leaf
    async def aadd_to_chord(self, sig: Signature[Any], lazy: bool = False) -> Any:
        """Await the addition of `sig` to the chord that this task is part of.

        Mirrors `celery.app.task.Task.add_to_chord`.

        Arguments:
            sig: the signature.
            lazy: add it, but do not send it.

        Returns:
            The result handle of `sig`, or `sig` itself if `lazy`.

        Raises:
            ValueError: this task is not part of a chord.
        """
        ...

    @leaf(route="_bridge_backend_route")
    async def aupdate_state(
        self,
        task_id: str | None = None,
        state: str | None = None,
        meta: Any = None,
        **kwargs: Any,
    ) -> None:
        """Await the storing of a state for this task, or for `task_id`.

        Mirrors `celery.app.task.Task.update_state`.

        Raises:
            TimeoutError: (`BackendTimeout`) no answer before the deadline.
        """
        ...

    @leaf(route="_bridge_broker_route")
    async def asend_event(
        self,
        type_: str,
        retry: bool = True,
        retry_policy: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Any:
        """Await the sending of a monitoring event about this task.

        Mirrors `celery.app.task.Task.send_event`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @reads(route="_bridge_backend_route")
    async def abackend(self) -> Any:
        """Await the result backend of this task, which may connect to be made.

        Mirrors `celery.app.task.Task.backend`.
        """
        ...

    @_hook
    async def abefore_start(
        self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Await the handler `before_start`, a function or a coroutine function.

        Mirrors `celery.app.task.Task.before_start`.
        """
        ...

    @_hook
    async def aon_success(
        self,
        retval: Any,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Await the handler `on_success`, a function or a coroutine function.

        Mirrors `celery.app.task.Task.on_success`.
        """
        ...

    @_hook
    async def aon_retry(
        self,
        exc: BaseException,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: Any,
    ) -> None:
        """Await the handler `on_retry`, a function or a coroutine function.

        Mirrors `celery.app.task.Task.on_retry`.
        """
        ...

    @_hook
    async def aon_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: Any,
    ) -> None:
        """Await the handler `on_failure`, a function or a coroutine function.

        Mirrors `celery.app.task.Task.on_failure`.
        """
        ...

    @_hook
    async def aafter_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: Any,
    ) -> None:
        """Await the handler `after_return`, a function or a coroutine function.

        Mirrors `celery.app.task.Task.after_return`.
        """
        ...
