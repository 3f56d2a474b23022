"""Twins for `celery.app.control.Inspect`."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ..._twin import AsyncFn, compound
from .._asking import ask, command_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("InspectMixin",)

P = ParamSpec("P")
R = TypeVar("R")


def _asks(fn: AsyncFn[P, R]) -> AsyncFn[P, R]:
    """Twin of a method that collects the replies of workers."""
    name = fn.__name__[1:]

    @wraps(fn)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self, name), *args, **kwargs)
        return await ask(self.app, call, self.connection)

    return compound(name, "wait")(cast("AsyncFn[P, R]", twin))


class InspectMixin:
    """Awaitable methods of `app.control.inspect(...)`.

    Each waits for replies on a connection of its own, natively where the broker has a
    driver, else in a thread that is not one of those that send, and ends as upstream
    does: at `limit` replies, at one per `destination`, or when nothing has come for
    `timeout` seconds (1 by default). Replies of concurrent calls do not mix. A callback
    is called where the waiting happens, so in the thread tier in a thread. They return
    `None` without a reply, and raise `OperationalError` (`PublishTimeout`) when the
    broker cannot be reached within `async_publish_timeout` seconds.
    """

    if TYPE_CHECKING:
        app: Any
        connection: Any

    def _bridge_route(self) -> Route:
        return command_route(self.app, self.connection)

    @_asks
    async def areport(self) -> dict[str, Any] | None:
        """Await a readable report of each worker.

        Mirrors `celery.app.control.Inspect.report`.
        """
        ...

    @_asks
    async def aclock(self) -> dict[str, Any] | None:
        """Await the logical clock of each worker.

        Mirrors `celery.app.control.Inspect.clock`.
        """
        ...

    @_asks
    async def aactive(self, safe: bool | None = None) -> dict[str, Any] | None:
        """Await the tasks that each worker is executing.

        Mirrors `celery.app.control.Inspect.active`.

        Arguments:
            safe: leave the arguments as they came over the wire.
        """
        ...

    @_asks
    async def ascheduled(self, safe: bool | None = None) -> dict[str, Any] | None:
        """Await the tasks that each worker holds until their time.

        Mirrors `celery.app.control.Inspect.scheduled`.

        Arguments:
            safe: without effect, as in upstream.
        """
        ...

    @_asks
    async def areserved(self, safe: bool | None = None) -> dict[str, Any] | None:
        """Await the tasks that each worker has fetched but not started.

        Mirrors `celery.app.control.Inspect.reserved`.

        Arguments:
            safe: without effect, as in upstream.
        """
        ...

    @_asks
    async def astats(self) -> dict[str, Any] | None:
        """Await the statistics of each worker.

        Mirrors `celery.app.control.Inspect.stats`.
        """
        ...

    @_asks
    async def arevoked(self) -> dict[str, Any] | None:
        """Await the ids of revoked tasks that each worker remembers.

        Mirrors `celery.app.control.Inspect.revoked`.
        """
        ...

    @_asks
    async def aregistered(self, *taskinfoitems: str) -> dict[str, Any] | None:
        """Await the names of the tasks that each worker knows.

        Mirrors `celery.app.control.Inspect.registered`.

        Arguments:
            taskinfoitems: attributes of the tasks to show.
        """
        ...

    aregistered_tasks = aregistered

    @_asks
    async def aping(
        self, destination: list[str] | None = None
    ) -> dict[str, Any] | None:
        """Await a sign of life of each worker.

        Mirrors `celery.app.control.Inspect.ping`.

        Arguments:
            destination: ask these nodes only; remembered for later calls.
        """
        ...

    @_asks
    async def aactive_queues(self) -> dict[str, Any] | None:
        """Await the queues that each worker consumes from.

        Mirrors `celery.app.control.Inspect.active_queues`.
        """
        ...

    @_asks
    async def aquery_task(self, *ids: Any) -> dict[str, Any] | None:
        """Await what each worker knows about tasks.

        Mirrors `celery.app.control.Inspect.query_task`.

        Arguments:
            ids: the ids, or one list of them.
        """
        ...

    @_asks
    async def aconf(self, with_defaults: bool = False) -> dict[str, Any] | None:
        """Await the configuration of each worker.

        Mirrors `celery.app.control.Inspect.conf`.

        Arguments:
            with_defaults: settings that were not changed, too.
        """
        ...

    @_asks
    async def ahello(
        self, from_node: str, revoked: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Await the greeting with which workers exchange clocks and revoked tasks.

        Mirrors `celery.app.control.Inspect.hello`.

        Arguments:
            from_node: the node name of the caller.
            revoked: revoked tasks to tell the others of.
        """
        ...

    @_asks
    async def amemsample(self) -> dict[str, Any] | None:
        """Await a sample of the memory use of each worker.

        Mirrors `celery.app.control.Inspect.memsample`; workers need psutil.
        """
        ...

    @_asks
    async def amemdump(self, samples: int = 10) -> dict[str, Any] | None:
        """Await the memory samples that each worker has taken.

        Mirrors `celery.app.control.Inspect.memdump`; workers need psutil.

        Arguments:
            samples: how many of them.
        """
        ...

    @_asks
    async def aobjgraph(
        self, type: str = "Request", n: int = 200, max_depth: int = 10
    ) -> dict[str, Any] | None:
        """Await the name of a file in which each worker draws its uncollected objects.

        Mirrors `celery.app.control.Inspect.objgraph`; workers need objgraph.

        Arguments:
            type: the class of the objects.
            n: how many of them.
            max_depth: how deep.
        """
        ...
