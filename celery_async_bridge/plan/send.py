"""Sending by plan: as few steps as a message needs, else none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import signals

from ..core.carry import capture
from ..core.deadlines import LATE, Deadlines, deadlines_of
from ..core.dispatch import is_native, perform
from ..core.gate import go_on
from ..core.places import places_of
from ..core.registry import suspends
from ..core.trampoline import Pending
from ..errors import DeliveryUncertain, PublishTimeout
from .again import open_again
from .guards import guard_of
from .ids import new_ids
from .learn import Call, Lesson
from .plan import PATIENCE, READY, REFUSED, SHELF, Line, Plan, shelf_of
from .reprs import short_repr
from .shape import BARE, shape_of
from .signals import Message, anybody
from .step import STEP_DOWN
from .template import Blanks
from .waits import out_of_time

if TYPE_CHECKING:
    from ..core.route import Route

__all__ = ("NESTED", "PLAIN", "gains", "give_up", "make_message", "send_task")

#: Marks the shapes of sends from inside of a running task.
NESTED = "nested"
PLAIN = (tuple, list)

_before = signals.before_task_publish
_after = signals.after_task_publish
_sent = signals.task_sent


async def send_task(
    task: Any,
    args: Any,
    kwargs: Any,
    options: Mapping[str, Any],
    inside: bool,
    timeout: float | None = None,
    began: float | None = None,
) -> Any:
    """Send a task by its plan, and learn the plan where there is none yet.

    Long and flat, because this is the path of every message.

    Arguments:
        task: the task.
        args: its positional arguments.
        kwargs: its keyword arguments.
        options: what else was given to `apply_async`.
        inside: whether a task may be running here.
        timeout: seconds, or None for the setting.
        began: the time of the loop from which they count; now by default.

    Returns:
        the result handle, or `STEP_DOWN`.
    """
    key = shape_of(options) if options else BARE
    if key is None:
        return STEP_DOWN
    parent = None
    if inside:
        parent = task.app.current_worker_task
        if parent is not None:
            key = (NESTED, *key)
    shelf = task.__dict__.get(SHELF)
    plan = None if shelf is None else shelf.plans.get(key)
    loop = asyncio.get_running_loop()
    if began is None:
        began = loop.time()
    if plan is None or plan.state is not READY or (line := plan.line(loop)) is None:
        call = Call(task, task.app, task.name, args, kwargs, options, parent)
        return await _walk(plan or shelf_of(task).plan(key), call, timeout, began)
    mux = line.mux()
    task_id, tag = new_ids()
    if options:
        task_id = options.get("task_id") or task_id
    replies = line.replies
    seconds = replies.seconds
    if timeout is not None and timeout != seconds:
        seconds = timeout
        replies = deadlines_of(seconds, "reply")
    end = began + seconds
    if line.turnstile.waiting or not mux.room:
        place = line.turnstile.join(mux)
        watch = line.places
        if seconds != watch.seconds:
            watch = deadlines_of(seconds, "place")
        watch.watch(place, end)
        if await place is LATE:
            raise out_of_time(plan.label, seconds, False, task_id)
    if not plan.guard.holds():
        shelf.replace(key)
        return STEP_DOWN
    message = text = None
    try:
        # Upstream says better what is wrong with the arguments.
        if task.typing:
            task.__header__(*(args or ()), **(kwargs or {}))
        args, kwargs = args or (), kwargs or {}
        if type(args) not in PLAIN or type(kwargs) is not dict:
            return STEP_DOWN
        root_id, parent_id = task_id, None
        if parent is not None:
            request = parent.request
            root_id, parent_id = request.root_id or request.id, request.id
        if plan.live or _before.receivers or _after.receivers or _sent.receivers:
            ids = (task_id, root_id, parent_id)
            message = make_message(
                plan, task, args, kwargs, options, ids, line.reply_to, tag
            )
        else:
            sizes, levels = plan.sizes, plan.levels
            text = plan.template.line(
                args,
                kwargs,
                task_id,
                root_id,
                parent_id,
                short_repr(args, sizes[0], levels),
                short_repr(kwargs, sizes[1], levels),
                line.reply_to,
                tag,
            )
    except Exception:
        return STEP_DOWN
    if message is not None:
        if _before.receivers:
            text = await _seen(line, message.show, inside)
        else:
            text = message.text()
    if text is None:
        assert message is not None
        route = task._bridge_send_route(options)
        await _publish(message, None, plan, route, seconds, began)
    else:
        future = mux.push(plan.template.command(text))
        replies.watch(future, end)
        try:
            reply = await future
        except Exception as exc:
            give_up(exc, plan, task_id)
            # While they wait, what they hold is so much for the collector to look at.
            exc.__traceback__ = None
            # One lost connection fails hundreds of sends.
            places = places_of(plan.server)
            if not await places.join(seconds, began):
                uncertain = getattr(exc, "uncertain", False)
                raise out_of_time(plan.label, seconds, uncertain, task_id) from None
            try:
                await go_on()
                ids = (task_id, root_id, parent_id)
                failure = await _repeat(plan, text, replies, end, task_id, exc)
                if failure is not None:
                    message = message or make_message(
                        plan, task, args, kwargs, options, ids, line.reply_to, tag
                    )
                    route = task._bridge_send_route(options)
                    await _publish(message, failure, plan, route, seconds, began)
                    # It refers to frames that refer to it: garbage for the collector.
                    failure.__traceback__ = failure.__context__ = None
            finally:
                places.leave()
        else:
            if reply is LATE:
                raise out_of_time(plan.label, seconds, True, task_id)
    if message is not None and (_after.receivers or _sent.receivers):
        await _seen(line, message.after, inside)
    result = task.AsyncResult(task_id)
    result.ignored = plan.ignored
    if parent is not None and options.get("add_to_parent", True):
        parent.add_trail(result)
    return result


async def _repeat(
    plan: Plan,
    text: str,
    replies: Deadlines,
    end: float,
    task_id: str,
    failure: Exception,
) -> Exception | None:
    """Send a message again by its plan; what it fails with is upstream's to judge."""
    line = open_again(plan, failure)
    mux = None if line is None else line.mux()
    if mux is None or plan.template is None:
        return failure
    future = mux.push(plan.template.command(text))
    replies.watch(future, end)
    try:
        reply = await future
    except Exception as exc:
        give_up(exc, plan, task_id)
        exc.__traceback__ = None
        return exc
    if reply is LATE:
        raise out_of_time(plan.label, replies.seconds, True, task_id)
    return None


async def _seen(line: Line, look: Callable[[], Any], inside: bool) -> Any:
    """Have receivers look at a message.

    In a trampoline, as ever: one that talks to a server must not block the loop.
    """
    found = line.hand.begin(capture(look) if inside else look)
    return await found.rest() if type(found) is Pending else found


def make_message(
    plan: Plan,
    task: Any,
    args: Any,
    kwargs: Any,
    options: Mapping[str, Any],
    ids: tuple[str, str, str | None],
    reply_to: str,
    tag: str,
) -> Message:
    """Return one message as real objects.

    Raises:
        TypeError: upstream's code must make it.
    """
    body: Any
    blanks = Blanks(
        *ids,
        short_repr(args, plan.sizes[0], plan.levels),
        short_repr(kwargs, plan.sizes[1], plan.levels),
        reply_to,
        tag,
    )
    if plan.live:
        call = Call(task, plan.app, plan.name, args, kwargs, options)
        made = call.message(*ids)
        body = made.body
        blanks.eta, blanks.expires = made.headers["eta"], made.headers["expires"]
    else:
        body = (args, kwargs, plan.embed.copy())
    return Message(plan, options.get("headers"), body, blanks)


def give_up(failure: BaseException, plan: Plan, task_id: str) -> None:
    """Raise `DeliveryUncertain` where what may have been sent is not sent again."""
    if getattr(failure, "uncertain", False) and not plan.app.conf.get(
        "async_retry_uncertain", True
    ):
        error = DeliveryUncertain(str(failure))
        error.task_id = task_id
        raise error from failure


async def _publish(
    message: Message,
    failure: BaseException | None,
    plan: Plan,
    route: Route,
    seconds: float,
    began: float,
) -> None:
    """Have upstream publish what is made already, or go on after a failed attempt."""
    if failure is not None:
        give_up(failure, plan, message.headers["id"])
    try:
        resume = partial(message.resume, failure)
        await perform(route, resume, deadline=seconds, began=began)
    except (DeliveryUncertain, PublishTimeout) as exc:
        exc.task_id = message.headers["id"]
        raise


def gains(route: Route) -> bool:
    """Whether the broker of a native route is one that calls wait for."""
    return suspends(route.endpoints[0])


async def _walk(
    plan: Plan,
    call: Call,
    timeout: float | None,
    began: float,
) -> Any:
    """Send by upstream's code, and learn from it if nobody else does."""
    if plan.state is REFUSED and not plan.looks_again():
        return STEP_DOWN
    if call.app.conf.task_always_eager:
        return STEP_DOWN
    route = call.task._bridge_send_route(call.options)
    if not is_native(route) or not gains(route):
        plan.refuse("there is no native driver that would gain by it")
        return STEP_DOWN
    seconds = route.deadline if timeout is None else timeout
    loop = asyncio.get_running_loop()
    bench = plan.bench(loop)
    if bench.busy:
        again = seconds is None or seconds > 2 * PATIENCE
        if not (again and await bench.wait()):
            return STEP_DOWN
        return await send_task(
            call.task,
            call.args,
            call.kwargs,
            call.options,
            call.parent is not None,
            timeout,
            began,
        )
    try:
        told = not call.merged.get("ignore_result")
        nested = call.parent is not None
        guard = guard_of(call.task, call.app, nested=nested, told=told)
    except Exception as exc:
        # Whatever is odd about it, upstream's own code meets it, too.
        plan.refuse(str(exc) or type(exc).__name__)
        bench.wake(answer=False)
        return STEP_DOWN
    lesson = Lesson(call, guard)
    receivers = anybody()
    with plan.learns(bench):
        result = await perform(route, lesson, deadline=seconds, began=began)
        lesson.teach(plan, receivers=receivers or anybody())
    return result
