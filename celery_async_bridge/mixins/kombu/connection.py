"""Twins for `kombu.connection`: `Connection`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform, talk
from ...core.relay import Relay
from .._twin import Making, compound, leaf, makes, reads
from ._crew import crew_of
from ._iterating import finish_all
from ._owed import note_opened
from ._ready import own_event
from ._route import bound_route, route_of

if TYPE_CHECKING:
    from types import TracebackType

    from ...core.route import Route

__all__ = ("ConnectionMixin",)

Errback = Callable[[BaseException, float], object]


class ConnectionMixin:
    """Awaitable methods of `kombu.Connection`.

    Each runs natively where the transport has a driver, else in a thread that has the
    connection to itself: twins on one connection and on what is bound to it take turns,
    and a wait for events lets the others in ten times a second.

    `async with Connection(...)` connects and closes; the sync `with` only closes.
    """

    connect: Callable[[], Any]
    release: Callable[[], None]

    def _bridge_route(self, via: Any = None) -> Route:
        return route_of(self) if via is None else bound_route(via)

    @compound("connect", "leaf")
    async def aconnect(self) -> Any:
        """Await the connection to the broker; return the transport's connection.

        Mirrors `kombu.Connection.connect`. Of several brokers the first that answers
        is taken. The default channel is opened, too, and from then on `Consumer(...)`
        and `SimpleQueue(...)` can be made on the loop: what they declare is declared
        when they are entered or first used.

        Raises:
            OSError: the broker cannot be reached; other exceptions of the transport
                are those of `connection_errors`.
            OperationalError: (`PublishTimeout`) no answer within 10 seconds.
        """
        return await self._bridge_open()

    async def _bridge_open(self) -> Any:
        route = self._bridge_route()

        def opened() -> Any:
            made = self.connect()
            note_opened(self)
            return made

        return await perform(
            route, opened, deadline=route.deadline, undo=lambda _: self.release()
        )

    @compound("ensure_connection")
    async def aensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Await the connection to the broker, with retries; return `self`.

        Mirrors `kombu.Connection.ensure_connection`: errback, max_retries,
        interval_start, interval_step, interval_max, callback,
        reraise_as_library_errors and timeout (seconds in all). No limit is set where
        upstream has none; cancellation ends the pause between two attempts.

        Raises:
            OperationalError: there was no connection after the last retry.
        """
        call = partial(self.ensure_connection, *args, **kwargs)  # type: ignore[attr-defined]
        return await talk(self._bridge_route(), call)

    @leaf(undo=lambda self, channel: self.maybe_close_channel(channel))
    async def achannel(self) -> Any:
        """Await a new channel; connect first, if need be.

        Mirrors `kombu.Connection.channel`.
        """
        ...

    @reads
    async def adefault_channel(self) -> Any:
        """Await the channel that all share who are given the connection.

        Mirrors reading `kombu.Connection.default_channel`, which connects.
        """
        ...

    @reads
    async def aconnection(self) -> Any:
        """Await the transport's connection; None if this one has been closed.

        Mirrors reading `kombu.Connection.connection`, which connects.
        """
        ...

    @leaf
    async def aheartbeat_check(self, rate: int = 2) -> None:
        """Await a heartbeat, if one is due.

        Mirrors `kombu.Connection.heartbeat_check`.

        Arguments:
            rate: how often this is called within the heartbeat interval.
        """
        ...

    @leaf
    async def aget_heartbeat_interval(self) -> float:
        """Await the agreed seconds between two heartbeats; connect, if need be.

        Mirrors `kombu.Connection.get_heartbeat_interval`.
        """
        ...

    @reads
    async def aqos_semantics_matches_spec(self) -> bool:
        """Await whether prefetch limits mean what AMQP says; connect, if need be.

        Mirrors reading `kombu.Connection.qos_semantics_matches_spec`.
        """
        ...

    @compound("drain_events", "wait")
    async def adrain_events(self, **kwargs: Any) -> Any:
        """Wait for one event of the broker; consumers' callbacks are called.

        Mirrors `kombu.Connection.drain_events`: `timeout` in seconds, else for ever.
        Sync callbacks run where the wait runs, coroutine functions on this loop, side
        by side up to the prefetch limit of their consumer. Those for one message have
        come to their end when it returns.

        Raises:
            socket.timeout: nothing came, and no callback ended, in time.
            BaseException: what a callback has raised; its message is not acknowledged.
        """
        came = own_event(self, kwargs)
        if came is True or (came and await came):
            return None
        call = partial(self.drain_events, **kwargs)  # type: ignore[attr-defined]
        return await talk(self._bridge_route(), call)

    @leaf(via="channel")
    async def amaybe_close_channel(self, channel: Any) -> None:
        """Await the closing of a channel; connection and channel errors are ignored.

        Mirrors `kombu.Connection.maybe_close_channel`.
        """
        ...

    @leaf
    async def acollect(self, socket_timeout: float | None = None) -> None:
        """Await the disposal of the connection without a farewell to the broker.

        Mirrors `kombu.Connection.collect`, which changes the default socket timeout of
        the whole process for as long as it takes.

        Arguments:
            socket_timeout: seconds for sockets that are opened meanwhile.
        """
        ...

    @leaf
    async def arelease(self) -> None:
        """Await the closing of the connection, or its return to its pool.

        Mirrors `kombu.Connection.release`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the closing of the connection, even if it belongs to a pool.

        Mirrors `kombu.Connection.close`.
        """
        ...

    @leaf
    async def aswitch(self, conn_str: str) -> None:
        """Await the closing of the connection and let it point to another broker.

        Mirrors `kombu.Connection.switch`; the next use connects.

        Arguments:
            conn_str: a URL or a host name.
        """
        ...

    @leaf
    async def amaybe_switch_next(self) -> None:
        """Await the switch to the next broker of the failover list, if there is one.

        Mirrors `kombu.Connection.maybe_switch_next`.
        """
        ...

    @leaf
    async def arevive(self, new_channel: Any) -> None:
        """Await the closing of the default channel, if another one replaces it.

        Mirrors `kombu.Connection.revive`.
        """
        ...

    @compound("ensure", "make")
    def aensure(
        self,
        obj: Any,
        fun: Callable[..., Any],
        errback: Errback | None = None,
        max_retries: int | None = None,
        interval_start: float = 1,
        interval_step: float = 1,
        interval_max: float = 1,
        on_revive: Callable[[Any], object] | None = None,
        retry_errors: tuple[type[BaseException], ...] | None = None,
    ) -> Callable[..., Awaitable[Any]]:
        """Return a coroutine function that retries `fun` when the connection breaks.

        Mirrors `kombu.Connection.ensure`. `fun` may be a coroutine function (such as
        `producer.apublish`); callbacks may be, too. There is no deadline but the
        retry limits and the caller's; cancellation ends the pause between two tries.

        Arguments:
            obj: gets `revive(channel)` after a reconnect.
            fun: what to do.
            errback: gets the exception and the seconds until the next try.
            max_retries: None for no limit.
            interval_start: seconds of the first pause between connection attempts.
            interval_step: seconds by which the pause grows.
            interval_max: seconds of the longest pause.
            on_revive: gets the channel after a reconnect.
            retry_errors: exceptions that are retried although the connection works.

        Raises:
            OperationalError: (when awaited) the last try failed.
        """
        relay_in = (fun, errback, on_revive)

        @wraps(fun)
        async def ensured(*args: Any, **kwargs: Any) -> Any:
            relay = Relay()
            act, err, revived = (f and relay.sync(f) for f in relay_in)
            insured = self.ensure(  # type: ignore[attr-defined]
                obj,
                act,
                err,
                max_retries,
                interval_start,
                interval_step,
                interval_max,
                revived,
                retry_errors,
            )
            return await talk(self._bridge_route(), partial(insured, *args, **kwargs))

        return ensured

    @compound("autoretry", "make")
    def aautoretry(
        self, fun: Callable[..., Any], channel: Any = None, **ensure_options: Any
    ) -> Callable[..., Awaitable[tuple[Any, Any]]]:
        """Return a coroutine function that retries `fun(..., channel=...)`.

        Mirrors `kombu.Connection.autoretry`: it gives what `fun` gave and the channel
        that was used last. `fun` may be a coroutine function.

        Arguments:
            fun: gets a keyword argument `channel`.
            channel: the first channel; None for the connection's default channel.
            **ensure_options: as for `aensure`.
        """

        @wraps(fun)
        async def retried(*args: Any, **kwargs: Any) -> Any:
            relay = Relay()
            options = dict(ensure_options)
            for name in ("errback", "on_revive"):
                if options.get(name):
                    options[name] = relay.sync(options[name])
            insured = self.autoretry(  # type: ignore[attr-defined]
                relay.sync(fun), channel, **options
            )
            return await talk(self._bridge_route(), partial(insured, *args, **kwargs))

        return retried

    @leaf
    async def aget_manager(self, *args: Any, **kwargs: Any) -> Any:
        """Await what `kombu.Connection.get_manager` returns: its methods block."""
        ...

    @reads
    async def amanager(self) -> Any:
        """Await the client for the broker's management API.

        Mirrors reading `kombu.Connection.manager`. The client's own methods block.
        """
        ...

    @makes(of="SimpleQueue", via="channel")
    def asimple_queue(
        self,
        name: Any,
        no_ack: bool | None = None,
        queue_opts: dict[str, Any] | None = None,
        queue_args: dict[str, Any] | None = None,
        exchange_opts: dict[str, Any] | None = None,
        channel: Any = None,
        **kwargs: Any,
    ) -> Making:
        """Declare and open a simple queue: `await` it, or `async with` to close it.

        Mirrors `kombu.Connection.SimpleQueue`.

        Arguments:
            name: a name or a `kombu.Queue`.
            no_ack: messages count as acknowledged when they are delivered.
            queue_opts: for the queue that is made from a name.
            queue_args: its broker-specific arguments.
            exchange_opts: for its exchange.
            channel: instead of the default channel.
            **kwargs: serializer, compression, accept.
        """
        ...

    @makes(of="SimpleBuffer", via="channel")
    def asimple_buffer(
        self,
        name: Any,
        no_ack: bool | None = None,
        queue_opts: dict[str, Any] | None = None,
        queue_args: dict[str, Any] | None = None,
        exchange_opts: dict[str, Any] | None = None,
        channel: Any = None,
        **kwargs: Any,
    ) -> Making:
        """Declare and open a transient queue: `await` it, or `async with` to close it.

        Mirrors `kombu.Connection.SimpleBuffer`; parameters as for `asimple_queue`.
        """
        ...

    @makes(of="Consumer", via="channel")
    def aconsumer(
        self,
        queues: Iterable[Any] | Any = None,
        channel: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Making:
        """Declare the queues of a new consumer.

        Mirrors `kombu.Connection.Consumer`: `await` gives the consumer, which does
        not consume yet; `async with` starts it and cancels it at the end.
        """
        ...

    @compound("__enter__")
    async def __aenter__(self) -> Any:
        """Connect and open the default channel, unlike the sync `__enter__`."""
        await self._bridge_open()
        return self

    @compound("__exit__", "leaf")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close, or give back to the pool (a broken one is replaced).

        Async callbacks at work are waited for before, after an exception cancelled.
        """
        crew, route = crew_of(self), self._bridge_route()
        try:
            await finish_all(self)
            if crew is not None:
                await crew.finish(exc_type is not None)
        finally:
            leave = partial(self.__exit__, exc_type, exc_val, exc_tb)  # type: ignore[attr-defined]
            await perform(route, leave, deadline=route.deadline)
