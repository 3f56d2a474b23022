"""How a twin that sends tasks finds its way: eager, or to the servers it names."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from functools import partial, wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ...core.dispatch import perform
from ...core.gate import queue_early
from ...plan.step import STEP_DOWN
from .._twin import compound
from ..kombu._route import broker_of, connection_of
from ._bursting import at_once
from ._route import send_route
from .app._run import is_async_task, run_eager

if TYPE_CHECKING:
    from ...core.route import Expired, Route

__all__ = (
    "body_task",
    "connection_given",
    "options_given",
    "positions",
    "sends",
    "way_of",
)

#: Gets the object, the arguments of the twin and the deadline.
Planned = Callable[[Any, tuple[Any, ...], dict[str, Any], "float | None"], Any]
P = ParamSpec("P")
R = TypeVar("R")
AsyncFn = Callable[P, Coroutine[Any, Any, R]]


def positions(fn: Callable[..., Any]) -> tuple[str, ...] | None:
    """Name the positional parameters after self; None if *args takes them all."""
    parameters = list(signature(fn).parameters.values())[1:]
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return None
    return tuple(
        p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD
    )


def options_given(
    places: tuple[str, ...] | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Name the arguments of a call, as far as they are options of the twin.

    Arguments:
        places: what `positions` found. With *args everything belongs to the task: a
            `producer` among its keywords is not ours.
        args: the positional arguments of the call.
        kwargs: its keyword arguments.
    """
    if places is None:
        return {}
    return {**dict(zip(places, args, strict=False)), **kwargs}


def connection_given(given: Mapping[str, Any]) -> Any:
    """Return the connection that the caller chose, or None for the app's pool."""
    for name in ("producer", "publisher"):
        producer = given.get(name)
        if producer is not None:
            # Not `producer.connection`: it may open the channel to find out.
            return getattr(producer, "__connection__", None) or connection_of(
                getattr(producer, "_channel", None)
            )
    return given.get("connection")


def _expired(task_id: str, expired: Expired) -> BaseException:
    from ...errors import publish_timeout

    error = publish_timeout(expired)
    error.task_id = task_id
    return error


def way_of(app: Any, given: Mapping[str, Any], *, results: bool = True) -> Route:
    """Route of one send, by the options that the caller gave.

    Arguments:
        app: the Celery app.
        given: the options by name.
        results: whether the result backend may be told of the call.
    """
    route = send_route(app, results=results and not given.get("ignore_result"))
    connection = connection_given(given)
    if connection is not None and hasattr(connection, "transport_cls"):
        endpoints = (broker_of(connection), *route.endpoints[1:])
        route = replace(route, endpoints=endpoints, guard=connection)
    task_id = given.get("task_id")
    if task_id is not None:
        route = replace(route, expired=partial(_expired, task_id))
    return route


def sends(
    *,
    of: str = "",
    option: str = "publish_timeout",
    planned: Planned | None = None,
    many: bool = False,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], AsyncFn[P, R]]:
    """Twin of a method that sends tasks, or runs them where the app is eager.

    The class says where to: `_bridge_send_route(given)`, and `_bridge_eager()` returns
    the task that shall run here instead, or None.

    Arguments:
        of: the sync name, where it is not the twin's without its `a`.
        option: our keyword-only parameter that holds the deadline in seconds.
        planned: sends by plan, where there is one; else it returns `STEP_DOWN`.
        many: it sends more than one message; they leave at once.
    """

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]
        places = positions(fn)

        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            timeout = kwargs.pop(option, None) if option else None
            began = get_running_loop().time()
            if planned is not None:
                try:
                    sent = await planned(self, args, kwargs, timeout)
                except Exception as exc:
                    _name(exc, options_given(places, args, kwargs))
                    raise
                if sent is not STEP_DOWN:
                    return sent
            queued = await queue_early(timeout, began)
            call: Callable[[], Any] = partial(getattr(self, name), *args, **kwargs)
            eager = self._bridge_eager()
            if eager is not None:
                return await run_eager(eager, call)
            # With *args everything belongs to the task: its `producer` is not ours.
            given = options_given(places, args, kwargs)
            route = self._bridge_send_route(given)
            if many:
                call = at_once(self, call, route.starts)
            deadline = route.deadline if timeout is None else timeout
            try:
                return await perform(
                    route,
                    call,
                    deadline=deadline,
                    began=began,
                    queued=queued,
                    heavy=True,
                )
            except Exception as exc:
                _name(exc, given)
                raise

        return compound(name, "leaf")(twin)

    return decorate


def _name(error: Any, given: Mapping[str, Any]) -> None:
    """Have an error that names its task carry the id that the caller gave."""
    if getattr(error, "task_id", "") is None:
        error.task_id = given.get("task_id")


def _tasks_in(part: Any, registry: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(part, (list, tuple)):
        for one in part:
            yield from _tasks_in(one, registry)
    elif isinstance(part, Mapping) and "task" in part:
        task = registry.get(part["task"])
        if task is not None:
            yield task
        for holder, names in (
            ("kwargs", ("tasks", "header", "body", "task")),
            ("options", ("link", "link_error")),
        ):
            values = part.get(holder) or {}
            for name in names:
                yield from _tasks_in(values.get(name), registry)


def body_task(canvas: Any) -> Any:
    """Return the task that decides where the bodies of a canvas run.

    One async task is enough to need the loop. None if no task is registered here.
    """
    found = list(_tasks_in(canvas, canvas.app.tasks))
    return next(
        (task for task in found if is_async_task(task)), next(iter(found), None)
    )
