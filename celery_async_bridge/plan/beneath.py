"""Sending by plan from where upstream's own `send_task` would, in a trampoline.

Overrides and patches of what calls it are on the stack while the send is pending: they
see its errors, and its end. There is no deadline here; who has started the call has
one, and cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import celery.app.amqp

from ..core.burst import burst_here
from ..core.dispatch import is_native
from ..core.gate import go_on
from ..core.taps import outcome, recorder
from ..core.trampoline import await_
from .again import open_again
from .guards import guard_of
from .ids import new_ids
from .learn import Call, Lesson
from .plan import READY, REFUSED, Plan, shelf_of
from .reprs import short_repr
from .send import NESTED, PLAIN, gains, give_up, make_message
from .shape import BARE, shape_of
from .signals import Message, anybody
from .under import under

__all__ = ("UPSTREAM", "send_beneath")

#: The answer of a plan that cannot do it: upstream's own code must.
UPSTREAM: Any = object()

#: Set where a worker publishes what follows a task that has run: later releases than
#: 5.6 try that again in a way of its own.
_follows: ContextVar[bool] = getattr(
    celery.app.amqp,
    "_callback_publish_retry",
    ContextVar("celery_async_bridge_follows", default=False),
)


def send_beneath(
    send: Callable[..., Any],
    app: Any,
    name: str,
    args: Any,
    kwargs: Any,
    given: dict[str, Any],
    inside: bool,
) -> Any:
    """Do what upstream's `send_task` would do, where there is a plan for it.

    Arguments:
        send: upstream's `Celery.send_task`.
        app: the app.
        name: the name of the task.
        args: its positional arguments.
        kwargs: its keyword arguments.
        given: what else `send_task` was given.
        inside: whether a task may be running here.

    Returns:
        the result handle, or `UPSTREAM`.
    """
    # Somebody watches the writes of this call, reads their replies late, or repeats it.
    if recorder.get() is not None or burst_here() is not None or _follows.get():
        return UPSTREAM
    try:
        task = under(app, name, given.get("task_type"), send)
        options = task.own(given)
        key = None if options is None else shape_of(options) if options else BARE
    except Exception:
        return UPSTREAM  # it knows what to do with such a task, or says what is wrong
    if options is None or key is None:
        return UPSTREAM
    parent = None
    if inside:
        parent = app.current_worker_task
        if parent is not None:
            key = (NESTED, *key)
    shelf = shelf_of(task)
    plan: Any = shelf.plan(key)
    if plan.state is not READY or (
        (line := plan.line(asyncio.get_running_loop())) is None
    ):
        return _learn(plan, Call(task, app, name, args, kwargs, options, parent))
    mux = line.mux()
    if not mux.up:
        return UPSTREAM
    if line.turnstile.waiting or not mux.room:
        await_(line.turnstile.join(mux))
    if not plan.guard.holds():
        shelf.replace(key)
        return UPSTREAM
    args, kwargs = args or (), kwargs or {}
    if type(args) not in PLAIN or type(kwargs) is not dict:
        return UPSTREAM
    task_id, tag = new_ids()
    task_id = options.get("task_id") or task_id
    root_id, parent_id = task_id, None
    if parent is not None:
        request = parent.request
        root_id, parent_id = request.root_id or request.id, request.id
    ids = task_id, root_id, parent_id
    message = text = None
    try:
        if plan.live or anybody():
            message = make_message(
                plan, task, args, kwargs, options, ids, line.reply_to, tag
            )
        else:
            sizes, levels = plan.sizes, plan.levels
            text = plan.template.line(
                args,
                kwargs,
                *ids,
                short_repr(args, sizes[0], levels),
                short_repr(kwargs, sizes[1], levels),
                line.reply_to,
                tag,
            )
    except Exception:
        return UPSTREAM
    if text is not None:
        failure = _attempts(mux, plan, text, task_id)
        if failure is not None:
            message = make_message(
                plan, task, args, kwargs, options, ids, line.reply_to, tag
            )
            _resume(message, failure)
    else:
        assert message is not None
        _show(message, plan, mux)
    result = task.AsyncResult(task_id)
    result.ignored = plan.ignored
    if parent is not None and options.get("add_to_parent", True):
        parent.add_trail(result)
    return result


def _attempts(mux: Any, plan: Plan, text: str, task_id: str) -> Exception | None:
    """Write a message, and once more where its way is open again."""
    failure = _attempt(mux, plan, text, task_id)
    if failure is None:
        return None
    # What failed together is tried again together.
    await_(go_on())
    line = open_again(plan, failure)
    mux = None if line is None else line.mux()
    if mux is None:
        return failure
    # It refers to frames that refer to it: garbage for the collector.
    failure.__traceback__ = None
    return _attempt(mux, plan, text, task_id)


def _attempt(mux: Any, plan: Plan, text: str, task_id: str) -> Exception | None:
    """Write a message; return the error of an attempt that may be repeated."""
    template = plan.template
    assert template is not None
    future = mux.push(template.command(text))
    try:
        await_(future)
    except Exception as exc:
        if not future.done():  # the coroutine of the call is being closed
            _leave(mux, future)
            raise
        if getattr(exc, "uncertain", False):
            _doubt()
        give_up(exc, plan, task_id)
        return exc
    except BaseException:
        _leave(mux, future)
        raise
    return None


def _leave(mux: Any, future: asyncio.Future[Any]) -> None:
    if mux.has_written(future):
        _doubt()
    future.cancel()


def _doubt() -> None:
    """Note that a message may have been delivered."""
    known = outcome.get()
    if known is not None:
        known.uncertain = True


def _resume(message: Message, failure: Exception | None) -> None:
    message.resume(failure)
    if failure is not None:
        failure.__traceback__ = None  # as above


def _show(message: Message, plan: Plan, mux: Any) -> None:
    """Send a message that somebody looks at, before and after."""
    message.before()
    text, failure = message.text(), None
    if text is not None:
        failure = _attempts(mux, plan, text, message.blanks.task_id)
    if text is None or failure is not None:
        _resume(message, failure)
    message.after()


def _learn(plan: Plan, call: Call) -> Any:
    """Send by upstream's code, here and now, and learn from it."""
    if plan.state is REFUSED and not plan.looks_again():
        return UPSTREAM
    bench = plan.bench(asyncio.get_running_loop())
    if bench.busy:
        return UPSTREAM
    try:
        route = call.task._bridge_send_route(call.merged)
        if not is_native(route) or not gains(route):
            plan.refuse("there is no native driver that would gain by it")
            return UPSTREAM
        told = not call.merged.get("ignore_result")
        nested = call.parent is not None
        guard = guard_of(call.task, call.app, nested=nested, told=told)
    except Exception as exc:
        # Whatever is odd about it, upstream's own code meets it, too.
        plan.refuse(str(exc) or type(exc).__name__)
        return UPSTREAM
    lesson = Lesson(call, guard)
    receivers = anybody()
    with plan.learns(bench):
        result = lesson()
        lesson.teach(plan, receivers=receivers or anybody())
    return result
