"""Task bodies that may be coroutine functions, under upstream's own tracer.

The tracer calls the body and takes what it returns for the result. The wrapper here
waits for an awaitable at that place, so that errors, retries and `Ignore` reach the
tracer as they do from a sync body.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelled
from contextvars import ContextVar
from functools import partial, wraps
from inspect import isawaitable, iscoroutinefunction, unwrap
from typing import Any

from ....core.carry import capture
from ....core.conversation import current_conversation
from ....core.graft import Seam
from ....core.loops import aclose_loop
from ....core.offload import hand_back, offload, thread_host
from ....core.trampoline import await_, in_trampoline
from ..._twin import kind_of
from .._route import local_route
from .._stacks import host_loop, is_isolated, isolated
from ._errbacks import MAPS, as_errback, calling, errback_seams
from ._hooks import ensure_hooks, restore_hooks
from ._later import later_seams, sent_later
from ._models import model_seams

__all__ = (
    "body_seams",
    "ensure_body",
    "guard",
    "is_async_task",
    "refuse_in",
    "resolve",
    "restore_bodies",
    "run_alone",
)

#: Set on a request when its body has been called: a body that calls itself, directly or
#: by `self.run()`, gets its coroutine.
_MARK = "_async_body_called"

#: What a worker wraps around the awaitable of the body it executes.
guard: ContextVar[Callable[[Awaitable[Any]], Awaitable[Any]] | None] = ContextVar(
    "celery_async_guard", default=None
)

#: Wrapped tasks: attribute, whether the instance had it, the wrapper. Nothing here may
#: refer to a task: its wrapper does, by the bound method below it.
_wrapped: weakref.WeakKeyDictionary[Any, tuple[str, bool, weakref.ref[Any]]] = (
    weakref.WeakKeyDictionary()
)


def resolve(task: Any) -> Any:
    """Return the task instance behind a lazy proxy."""
    from celery.local import maybe_evaluate

    found = maybe_evaluate(task)
    current = getattr(type(found), "_get_current_object", None)
    return found if current is None else found._get_current_object()


def _own_arun(task: Any) -> Callable[..., Awaitable[Any]] | None:
    arun = getattr(type(task), "arun", None)
    if arun is None or kind_of(arun) is not None or not iscoroutinefunction(arun):
        return None
    found: Callable[..., Awaitable[Any]] = task.arun
    return found


def _runs_async(task: Any) -> bool:
    run = unwrap(task.run)
    return iscoroutinefunction(run) or iscoroutinefunction(type(run).__call__)


def is_async_task(task: Any) -> bool:
    """Whether the body of a task is a coroutine function, `run` or its own `arun`."""
    task = resolve(task)
    return _own_arun(task) is not None or _runs_async(task)


def ensure_body(task: Any) -> bool:
    """Have the body of `task` awaited where a tracer calls it; False if it was already.

    The wrapper is the innermost layer, below `autoretry_for` and what others wrap
    around `run`: they see the outcome and not a coroutine.
    """
    task = resolve(task)
    name = "_orig_run" if "_orig_run" in vars(task) else "run"
    inner = getattr(task, name)
    known = _wrapped.get(task)
    if known is not None and known[2]() in (inner, *_layers(inner)):
        return False
    body = _wrapper(weakref.ref(task), inner)
    _wrapped[task] = (name, name in vars(task), weakref.ref(body))
    setattr(task, name, body)
    ensure_hooks(task, _settled)
    return True


def _ensure_async(task: Any) -> None:
    if is_async_task(task):
        ensure_body(task)


def _layers(fn: Any) -> list[Any]:
    found = []
    while (fn := getattr(fn, "__wrapped__", None)) is not None:
        found.append(fn)
    return found


def restore_bodies() -> None:
    """Give every wrapped task its body and its handlers back."""
    restore_hooks()
    while _wrapped:
        task, (name, had, ref) = _wrapped.popitem()
        body = ref()
        if body is None or vars(task).get(name) is not body:
            continue  # somebody has wrapped it since: ours passes through below theirs
        if had:
            setattr(task, name, body.__wrapped__)
        else:
            delattr(task, name)


def _wrapper(ref: weakref.ref[Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def body(*args: Any, **kwargs: Any) -> Any:
        task = ref()
        request = None if task is None else task.request_stack.top
        if request is None or request.called_directly or _MARK in vars(request):
            return _called(task, partial(inner, *args, **kwargs))
        setattr(request, _MARK, True)
        if getattr(task, "name", None) in MAPS:
            return _mapped(task, partial(inner, *args, **kwargs))
        arun = _own_arun(task) if is_isolated() else None
        value = (arun or inner)(*args, **kwargs)
        return _settled(task, value) if _is_pending(value) else value

    return body


def _mapped(task: Any, call: partial[Any]) -> Any:
    given = call.keywords["task"] if "task" in call.keywords else call.args[0]
    each = task.app.tasks.get(given["task"])
    if each is not None:
        _ensure_async(each)
    with calling():
        return call()


def _called(task: Any, call: Callable[[], Any]) -> Any:
    with as_errback() as awaited:
        value = call()
        if not (awaited and _is_pending(value)):
            return value
        if is_isolated():
            return _waited(task, value)
        with isolated():
            return _waited(task, value)


def _is_pending(value: Any) -> bool:
    if not isawaitable(value):
        return False
    from celery.result import ResultBase

    return not isinstance(value, ResultBase)


def _settled(task: Any, value: Awaitable[Any]) -> Any:
    wrap = guard.get()
    if wrap is not None:
        value = wrap(value)
    if is_isolated():
        return sent_later(partial(_waited, task, value))
    with isolated():
        return sent_later(partial(_waited, task, value))


def _waited(task: Any, value: Awaitable[Any]) -> Any:
    if in_trampoline():
        return await_(value)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = host_loop()
        if loop is None or not loop.is_running():
            if _stock_pool is not None and not task.request.is_eager:
                raise _refused(task, value, _stock_pool) from None
            return run_alone(value)
        return _run_on(loop, value)
    _close(value)
    raise _refusal(task)


def _close(value: Awaitable[Any]) -> None:
    close = getattr(value, "close", None)
    if close is not None:
        close()


#: The pool of this worker process, if async tasks cannot run in it.
_stock_pool: str | None = None


def refuse_in(pool: str | None) -> None:
    """Have messages of async tasks fail in this process, whose worker has `pool`."""
    global _stock_pool
    _stock_pool = pool


def _refused(task: Any, value: Awaitable[Any], pool: str) -> Exception:
    from ....errors import AsyncBodyError

    _close(value)
    return AsyncBodyError(
        f"{task.name} is an async task, and the pool of this worker ({pool}) has no "
        "event loop: run a worker with `celery worker -P asyncio` for its queue"
    )


def _refusal(task: Any) -> Exception:
    from ....errors import AsyncBodyError

    return AsyncBodyError(
        f"{task.name} is an async task and an event loop is running here: "
        "use `await task.aapply(...)` or `await task.adelay(...)`"
    )


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _run_on(loop: asyncio.AbstractEventLoop, value: Awaitable[Any]) -> Any:
    if thread_host() is loop and current_conversation() is None:
        # The body may ask for what only this thread can do (Django's connections).
        return hand_back(lambda: value)
    # It takes the context of this thread along, the stacks included.
    future = asyncio.run_coroutine_threadsafe(_awaited(value), loop)
    talk = current_conversation()
    try:
        return future.result() if talk is None else talk.wait(future)
    except FutureCancelled:
        # To the tracer, which stores every `Exception`, a cancellation is none.
        raise asyncio.CancelledError from None


def run_alone(value: Awaitable[Any]) -> Any:
    """Wait for `value` on a loop of its own.

    Like `asyncio.run`, which would take the thread's event loop away, too.
    """
    loop = asyncio.new_event_loop()

    async def body() -> Any:
        try:
            return await value
        finally:
            await aclose_loop()

    try:
        return loop.run_until_complete(body())
    finally:
        try:
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            if rest:
                loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def _apply(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        app = self._get_app()
        task = resolve(app._tasks.get(self.name, self))
        ensure_body(task)
        call = partial(original, self, *args, **kwargs)
        if in_trampoline():
            if is_isolated() and not is_async_task(task):
                # A sync body among async ones, as a step of a chain or a callback.
                return await_(offload(local_route(app), capture(call)))
        elif _runs_async(task) and _loop_is_running():
            raise _refusal(task)
        return call()

    return apply


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def body_seams() -> list[Seam]:
    """Return the rows that keep coroutines from results, and bodies from blocking."""
    from celery.app.task import Task

    why = "the coroutine of an async body must never become the result"
    return [
        Seam(Task, "apply", _apply, "c", why),
        *later_seams(),
        *errback_seams(_ensure_async),
        *model_seams(),
    ]
