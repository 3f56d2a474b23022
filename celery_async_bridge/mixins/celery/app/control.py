"""Twins for `celery.app.control.Control`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._asking import command_route, commands

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("ControlMixin",)

Replies = list[dict[str, Any]] | None


class ControlMixin:
    """Awaitable methods of `app.control`.

    Each runs natively where the broker has a driver, else in a thread. Without `reply`
    a command returns None when it is sent, within `async_publish_timeout` seconds. With
    `reply=True` it waits on a connection of its own, and ends as upstream does: at
    `limit` replies, at one per `destination`, or when nothing has come for `timeout`
    seconds (1 by default). All other options are those of `abroadcast`. They raise
    `OperationalError` when the broker refuses, `PublishTimeout` when it cannot be
    reached in time, and `ValueError` for a `destination` that is not a list.
    """

    if TYPE_CHECKING:
        app: Any

    def _bridge_route(self) -> Route:
        return command_route(self.app)

    @commands()
    async def apurge(self, connection: Any = None) -> int:
        """Await the discarding of all messages that wait for a worker.

        Mirrors `celery.app.control.Control.purge`. Returns how many there were.

        Arguments:
            connection: use this connection instead of a pooled one.
        """
        ...

    adiscard_all = apurge

    @commands()
    async def aelection(
        self, id: str, topic: str, action: Any = None, connection: Any = None
    ) -> None:
        """Await the call for an election among the workers.

        Mirrors `celery.app.control.Control.election`.

        Arguments:
            id: the id of the election.
            topic: what it is about.
            action: what the winner does.
            connection: use this connection instead of a pooled one.
        """
        ...

    @commands()
    async def arevoke(
        self,
        task_id: str | list[str],
        destination: list[str] | None = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """Await the order not to run tasks.

        Mirrors `celery.app.control.Control.revoke`.

        Arguments:
            task_id: an id, or several.
            destination: the nodes to reach; default: all.
            terminate: also end the process of a task that runs.
            signal: how to end it.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def arevoke_by_stamped_headers(
        self,
        headers: dict[str, Any],
        destination: list[str] | None = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """Await the order not to run tasks with these stamps.

        Mirrors `celery.app.control.Control.revoke_by_stamped_headers`.

        Arguments:
            headers: the stamps.
            destination: the nodes to reach; default: all.
            terminate: also end the process of a task that runs.
            signal: how to end it.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def aterminate(
        self,
        task_id: str | list[str],
        destination: list[str] | None = None,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """Await the order to end tasks, running or not.

        Mirrors `celery.app.control.Control.terminate`.

        Arguments:
            task_id: an id, or several.
            destination: the nodes to reach; default: all.
            signal: how to end a process.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands(asks=True)
    async def aping(
        self, destination: list[str] | None = None, timeout: float = 1.0, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Await a sign of life of the workers.

        Mirrors `celery.app.control.Control.ping`.

        Arguments:
            destination: the nodes to reach; default: all.
            timeout: seconds without a reply after which it ends.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def arate_limit(
        self,
        task_name: str,
        rate_limit: int | str,
        destination: list[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Await the order to limit how often a task starts.

        Mirrors `celery.app.control.Control.rate_limit`.

        Arguments:
            task_name: the name of the task.
            rate_limit: per second, or like `"100/m"`.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def aadd_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: dict[str, Any] | None = None,
        destination: list[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Await the order to consume from a queue.

        Mirrors `celery.app.control.Control.add_consumer`.

        Arguments:
            queue: the name of the queue.
            exchange: the name of its exchange.
            exchange_type: the type of that.
            routing_key: the key of the binding.
            options: more options of the queue.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def acancel_consumer(
        self, queue: str, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to stop consuming from a queue.

        Mirrors `celery.app.control.Control.cancel_consumer`.

        Arguments:
            queue: the name of the queue.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def atime_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: list[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Await the order to limit how long a task may run.

        Mirrors `celery.app.control.Control.time_limit`.

        Arguments:
            task_name: the name of the task.
            soft: seconds until it is interrupted.
            hard: seconds until its process is killed.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def aenable_events(
        self, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to send events.

        Mirrors `celery.app.control.Control.enable_events`.

        Arguments:
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def adisable_events(
        self, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to stop sending events.

        Mirrors `celery.app.control.Control.disable_events`.

        Arguments:
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def apool_grow(
        self, n: int = 1, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to add processes to the pool.

        Mirrors `celery.app.control.Control.pool_grow`.

        Arguments:
            n: how many.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def apool_shrink(
        self, n: int = 1, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to take processes from the pool.

        Mirrors `celery.app.control.Control.pool_shrink`.

        Arguments:
            n: how many.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def aautoscale(
        self, max: int, min: int, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to change the bounds of autoscaling.

        Mirrors `celery.app.control.Control.autoscale`.

        Arguments:
            max: most processes.
            min: fewest processes.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def ashutdown(
        self, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to shut down.

        Mirrors `celery.app.control.Control.shutdown`.

        Arguments:
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def apool_restart(
        self,
        modules: list[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: list[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Await the order to restart the processes of the pool.

        Mirrors `celery.app.control.Control.pool_restart`.

        Arguments:
            modules: modules to import.
            reload: import them again.
            reloader: how to do that.
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def aheartbeat(
        self, destination: list[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Await the order to send a heartbeat event now.

        Mirrors `celery.app.control.Control.heartbeat`.

        Arguments:
            destination: the nodes to reach; default: all.
            kwargs: options of `abroadcast`.
        """
        ...

    @commands()
    async def abroadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: list[str] | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Replies:
        """Await the sending of a command to the workers, and its replies.

        Mirrors `celery.app.control.Control.broadcast`.

        Arguments:
            command: the name of the command.
            arguments: its arguments.
            destination: the nodes to reach; default: all.
            connection: use this connection instead of a pooled one.
            reply: wait for replies and return them.
            timeout: seconds without a reply after which it ends.
            limit: the number of replies to wait for.
            callback: called with each reply, in the thread tier in a thread.
            channel: use this channel of the connection.
            pattern: the nodes to reach, by a pattern.
            matcher: how to read the pattern: `"glob"` or `"pcre"`.
            extra_kwargs: more arguments of the command.
        """
        ...
