"""Twins for `celery.app.trace`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ....core.dispatch import is_native, perform
from ..._twin import compound
from .._route import backend_route, send_route
from ._body import ensure_body, resolve
from ._run import run_body

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = (
    "TraceInfoMixin",
    "afast_trace_task",
    "atrace_task",
    "atrace_task_ret",
    "build_async_tracer",
)

_OMITTED: Any = object()


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not _OMITTED}


async def _traced(task: Any, call: Callable[[], Any]) -> Any:
    return await run_body(task, call, inline=is_native(send_route(task.app)))


@compound("build_tracer")
def build_async_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    Info: Any = _OMITTED,
    eager: bool = False,
    propagate: bool = False,
    app: Any = None,
    monotonic: Callable[[], float] = _OMITTED,
    trace_ok_t: Any = _OMITTED,
    IGNORE_STATES: frozenset[str] = _OMITTED,
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a coroutine function that traces an execution of `task`.

    Mirrors `celery.app.trace.build_tracer`: it builds upstream's own tracer and runs it
    where its body can be awaited, on the running loop or beside it.
    """
    # Looked up at the call: monitoring tools replace it in its module.
    from celery.app import trace

    task = resolve(task)
    ensure_body(task)
    tracer = trace.build_tracer(
        name,
        task,
        loader,
        hostname,
        store_errors,
        eager=eager,
        propagate=propagate,
        app=app or task.app,
        **_given(
            Info=Info,
            monotonic=monotonic,
            trace_ok_t=trace_ok_t,
            IGNORE_STATES=IGNORE_STATES,
        ),
    )

    async def trace_task(
        uuid: str,
        args: Any,
        kwargs: dict[str, Any],
        request: dict[str, Any] | None = None,
    ) -> Any:
        call = partial(tracer, uuid, args, kwargs, request)
        if eager and not task.store_eager_result:
            return await run_body(task, call, inline=not _sends(request))
        return await _traced(task, call)

    return trace_task


def _sends(request: dict[str, Any] | None) -> bool:
    names = ("callbacks", "errbacks", "chain", "chord")
    return any((request or {}).get(name) for name in names)


@compound("trace_task")
async def atrace_task(
    task: Any,
    uuid: str,
    args: Any,
    kwargs: dict[str, Any],
    request: dict[str, Any] | None = None,
    **opts: Any,
) -> Any:
    """Await the traced execution of a task.

    Mirrors `celery.app.trace.trace_task`.
    """
    from celery.app import trace

    _prepare(task)
    call = partial(trace.trace_task, task, uuid, args, kwargs, request, **opts)
    return await _traced(task, call)


@compound("trace_task_ret")
async def atrace_task_ret(
    name: str,
    uuid: str,
    request: dict[str, Any],
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Callable[..., Any] = _OMITTED,
    app: Any = None,
    **extra_request: Any,
) -> tuple[int, Any, float]:
    """Await the traced execution of the task in a message.

    Mirrors `celery.app.trace.trace_task_ret`.

    Returns:
        Whether it failed (0 or 1), the representation of what it returned or the
        exception information, and the seconds that it took.
    """
    from celery._state import get_current_app
    from celery.app import trace

    app = app or get_current_app()
    task = app.tasks[name]
    _prepare(task)
    call = partial(
        trace.trace_task_ret,
        name,
        uuid,
        request,
        body,
        content_type,
        content_encoding,
        app=app,
        **_given(loads=loads),
        **extra_request,
    )
    found: tuple[int, Any, float] = await _traced(task, call)
    return found


@compound("fast_trace_task")
async def afast_trace_task(
    task: str,
    uuid: str,
    request: dict[str, Any],
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Callable[..., Any] = _OMITTED,
    _loc: Any = None,
    hostname: str | None = None,
    **_: Any,
) -> tuple[int, Any, float]:
    """Await the traced execution of the task in a message, in a set-up worker process.

    Mirrors `celery.app.trace.fast_trace_task`.

    Returns:
        As `atrace_task_ret`.

    Raises:
        RuntimeError: this process has not been set up as a worker.
    """
    from celery.app import trace

    call = partial(
        trace.fast_trace_task,
        task,
        uuid,
        request,
        body,
        content_type,
        content_encoding,
        _loc=_loc,
        hostname=hostname,
        **_given(loads=loads),
        **_,
    )
    localized: Any = _loc or vars(trace)["_localized"]
    found = localized[0].get(task) if localized else None
    if found is None:
        return call()  # upstream's error
    if _prepare(found):
        found.__trace__ = trace.build_tracer(found.name, found, app=found.app)
    outcome: tuple[int, Any, float] = await _traced(found, call)
    return outcome


def _prepare(task: Any) -> bool:
    """Make the body awaitable; a tracer that holds the plain one is thrown away."""
    if not ensure_body(task):
        return False
    task.__trace__ = None
    return True


class TraceInfoMixin:
    """Awaitable methods of `celery.app.trace.TraceInfo`.

    They store a state and call the task's handlers and error callbacks: natively where
    broker and result backend have drivers, else in a thread.
    """

    __slots__ = ()

    @compound("handle_error_state")
    async def ahandle_error_state(
        self, task: Any, req: Any, eager: bool = False, call_errbacks: bool = True
    ) -> Any:
        """Await the handling of a failure or retry; return its exception information.

        Mirrors `celery.app.trace.TraceInfo.handle_error_state`. Call it where the
        exception is being handled.
        """
        return await self._handled(
            "handle_error_state", task, req, eager=eager, call_errbacks=call_errbacks
        )

    @compound("handle_retry")
    async def ahandle_retry(
        self, task: Any, req: Any, store_errors: bool = True, **kwargs: Any
    ) -> Any:
        """Await the handling of a retry; return its exception information.

        Mirrors `celery.app.trace.TraceInfo.handle_retry`. Call it where the exception
        is being handled.
        """
        return await self._handled(
            "handle_retry", task, req, store_errors=store_errors, **kwargs
        )

    @compound("handle_failure")
    async def ahandle_failure(
        self,
        task: Any,
        req: Any,
        store_errors: bool = True,
        call_errbacks: bool = True,
    ) -> Any:
        """Await the handling of a failure; return its exception information.

        Mirrors `celery.app.trace.TraceInfo.handle_failure`. Call it where the exception
        is being handled.
        """
        return await self._handled(
            "handle_failure",
            task,
            req,
            store_errors=store_errors,
            call_errbacks=call_errbacks,
        )

    async def _handled(self, name: str, task: Any, req: Any, **options: Any) -> Any:
        error = sys.exc_info()[1]
        call = partial(getattr(self, name), task, req, **options)
        route: Route = send_route(task.app) if req.errbacks else backend_route(task.app)
        return await perform(route, partial(_handling, error, call))


def _handling(error: BaseException | None, call: Callable[[], Any]) -> Any:
    """Run `call` in an `except` clause: a new thread or greenlet handles no error."""
    if error is None:
        return call()
    trace = error.__traceback__
    try:
        raise error
    except BaseException:
        error.__traceback__ = trace
        return call()
