"""Twins that run the body of a task in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from ....core.dispatch import is_native
from ....core.offload import offload
from ....core.route import Endpoint
from ....core.trampoline import spawn
from ..._twin import compound
from .._route import local_route, send_route
from .._stacks import isolated
from ._body import ensure_body, is_async_task, resolve

if TYPE_CHECKING:
    from celery.result import EagerResult

__all__ = ("TaskRunMixin", "is_async_task", "run_body", "run_eager")

T = TypeVar("T")


async def run_body(task: Any, fn: Callable[[], T], *, inline: bool) -> T:
    """Run sync code that calls the body of `task`, and of others, by the way.

    Async bodies are awaited on the running loop, sync ones run in threads.

    Arguments:
        task: the task that decides.
        fn: the sync code: upstream's tracer or what calls it.
        inline: whether, for an async task, `fn` may run on the loop thread itself: it
            asks no server that has no native driver.
    """
    task = resolve(task)
    ensure_body(task)
    asynchronous = is_async_task(task)
    with isolated(host=asyncio.get_running_loop()):
        if asynchronous and inline:
            return await spawn(fn)
        route = local_route(task.app)
        if asynchronous:
            # Not among the sync bodies: one of these threads waits for its body, and
            # that may wait for a sync one.
            hosts = Endpoint("local", "local", ("host", id(task.app)), "a task body")
            route = replace(route, endpoints=(hosts,), sensitive=False)
        return await offload(route, fn)


async def run_eager(task: Any, fn: Callable[[], T]) -> T:
    """Run `fn`, which runs the body of `task` in eager mode.

    An async task is awaited on the running loop, a sync one runs in a thread.
    """
    task = resolve(task)
    stores = task.store_eager_result and not task.ignore_result
    inline = not stores or is_native(send_route(task.app))
    return await run_body(task, fn, inline=inline)


class TaskRunMixin:
    """Awaitable methods of `celery.Task` that run its body in this process."""

    if TYPE_CHECKING:
        app: Any
        apply: Any
        run: Any

    @compound("run")
    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """Await the body of the task, as a plain call: no request, no result stored.

        Mirrors `celery.app.task.Task.run`. An `async def run` is awaited, a sync one
        runs in a thread. A task class may define `arun` itself, as a coroutine
        function: the bridge then executes that instead of `run`.
        """
        if is_async_task(self):
            value = self.run(*args, **kwargs)
        else:
            call = partial(self.run, *args, **kwargs)
            value = await offload(local_route(self.app), call)
        return await value if isawaitable(value) else value

    @compound("apply")
    async def aapply(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | str | None = None,
        headers: dict[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[Any]:
        """Await the execution of the task in this process and return its result.

        Mirrors `celery.app.task.Task.apply`. The body of an async task is awaited on
        the running loop, a sync one runs in a thread; there is no deadline.

        Arguments:
            args: the task's positional arguments.
            kwargs: the task's keyword arguments.
            link: signatures to call on success.
            link_error: signatures to call on failure.
            task_id: the id to run it under.
            retries: the number of the attempt.
            throw: raise what the task raises; default `task_eager_propagates`.
            logfile: shown in the request.
            loglevel: shown in the request.
            headers: custom headers of the request.
            options: all other options of the sync method.

        Raises:
            BaseException: what the task raises, if `throw`.
        """
        call = partial(
            self.apply,
            args,
            kwargs,
            link=link,
            link_error=link_error,
            task_id=task_id,
            retries=retries,
            throw=throw,
            logfile=logfile,
            loglevel=loglevel,
            headers=headers,
            **options,
        )
        if (link or link_error) and not self.app.conf.task_always_eager:
            # The callbacks are sent, from within the tracer.
            return await run_body(self, call, inline=is_native(send_route(self.app)))
        return await run_eager(self, call)
