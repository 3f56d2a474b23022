"""What the twins of all canvas classes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ....core.dispatch import perform
from ..._twin import AsyncFn, compound
from .._route import local_route, send_route
from .._sending import body_task, way_of
from ..app._run import run_eager

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("CanvasMixin", "applies")

P = ParamSpec("P")
R = TypeVar("R")


#: Groups within groups that are assumed at most.
_DEPTH = 4


def _depth(part: Any) -> int:
    """Count the producers that upstream holds at once to send a canvas.

    A group holds one while it sends its members; a member that is a chord, or begins
    with one, takes another.
    """
    if not isinstance(part, Mapping):
        return 0
    kwargs = part.get("kwargs") or {}
    kind = part.get("subtask_type")
    if kind == "chord":
        header = kwargs.get("header")
        grouped = isinstance(header, Mapping) and header.get("subtask_type") == "group"
        return _depth(header) if grouped else 1 + _deepest(header)
    if kind == "group":
        return 1 + _deepest(kwargs.get("tasks"))
    if kind == "chain":
        first = kwargs.get("tasks")
        return _depth(first[0]) if isinstance(first, (list, tuple)) and first else 0
    return 0


def _deepest(parts: Any) -> int:
    # Not a lazy list: what it is made of must run where it is sent.
    if type(parts) not in (list, tuple):
        return 1
    return max((_depth(part) for part in parts), default=0)


def _roomy(canvas: Any, route: Route) -> Route:
    """Route of a canvas, with few enough threads that the pool cannot run dry.

    Each call that nests takes a second producer while it holds the first: as many at
    once as the pool has would wait for each other for ever.
    """
    limit = canvas.app.conf.broker_pool_limit
    if not limit or route.pin is not None or _depth(canvas) < 2:
        return route
    first, *others = route.endpoints
    first = replace(first, key=("nested", first.key))
    threads = max(1, (limit - 1) // (_DEPTH - 1))
    return replace(
        route, endpoints=(first, *others), threads=min(threads, route.threads)
    )


class CanvasMixin:
    """The way of a signature: upstream's own method, whole, in one tier.

    A group is not sent by concurrent sends of its members: a chord counts on their
    order. On the loop its messages leave in that order without a wait between them,
    and all are confirmed when the call returns. It raises what has failed first; what
    comes behind that may have left by then. Each message is waited for where somebody
    could tell the difference: within an override, a patch or a tracer, and where a
    receiver of `after_task_publish` is connected or `task_send_sent_event` is on.
    """

    if TYPE_CHECKING:
        app: Any
        options: dict[str, Any]

    def _bridge_send_route(self, given: Mapping[str, Any]) -> Route:
        return _roomy(self, way_of(self.app, {**self.options, **given}))

    def _bridge_eager(self) -> Any:
        return body_task(self) if self.app.conf.task_always_eager else None

    def _bridge_route(self) -> Route:
        return send_route(self.app)


def applies(fn: AsyncFn[P, R]) -> AsyncFn[P, R]:
    """Twin of a method that runs the bodies of tasks in this process."""
    name = fn.__name__[1:]

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self, name), *args, **kwargs)
        task = body_task(self)
        if task is None:
            return await perform(local_route(self.app), call)
        return await run_eager(task, call)

    return compound(name, "leaf")(cast("AsyncFn[P, R]", twin))
