"""Twins for `kombu.common`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import perform, stream, talk
from ...core.relay import Relay
from .._twin import compound, leaf
from ._pooling import acquire
from ._route import bound_route, connection_of, route_of
from .messaging import producer_route

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = (
    "QoSMixin",
    "acollect_replies",
    "adrain_consumer",
    "aeventloop",
    "aignore_errors",
    "ainsured",
    "aitermessages",
    "amaybe_declare",
    "arevive_connection",
    "asend_reply",
)


@compound("maybe_declare", "leaf")
async def amaybe_declare(
    entity: Any, channel: Any = None, retry: bool = False, **retry_policy: Any
) -> bool:
    """Await the declaration of an entity that its connection has not declared yet.

    Mirrors `kombu.common.maybe_declare`.

    Arguments:
        entity: an exchange or a queue.
        channel: for an entity that is not bound.
        retry: declare again when the connection breaks; there is no deadline then.
        **retry_policy: as for `Connection.aensure`.

    Returns:
        Whether it had to be declared.
    """
    from kombu.common import maybe_declare

    route = bound_route(entity._channel if channel is None else channel)
    call = partial(maybe_declare, entity, channel, retry, **retry_policy)
    if retry:
        return await talk(route, call)
    return await perform(route, call, deadline=route.deadline)


@compound("drain_consumer", "stream")
async def adrain_consumer(
    consumer: Any,
    limit: int = 1,
    timeout: float | None = None,
    callbacks: Sequence[Callable[[Any, Any], Any]] | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """Iterate over (body, message) as messages arrive; cancel the consumer at the end.

    Mirrors `kombu.common.drain_consumer`.

    Arguments:
        consumer: it gets callbacks of its own.
        limit: how many events to wait for, 0 for no limit.
        timeout: seconds per event; when they pass, that counts as an event.
        callbacks: called with each message, too.
    """
    from kombu.common import drain_consumer

    make = partial(drain_consumer, consumer, limit, timeout, callbacks)
    async with aclosing(stream(bound_route(consumer.channel), make)) as items:
        async for item in items:
            yield item


@compound("itermessages", "stream")
async def aitermessages(
    conn: Any,
    channel: Any,
    queue: Any,
    limit: int = 1,
    timeout: float | None = None,
    callbacks: Sequence[Callable[[Any, Any], Any]] | None = None,
    **kwargs: Any,
) -> AsyncIterator[tuple[Any, Any]]:
    """Consume from a queue: iterate over (body, message) as messages arrive.

    Mirrors `kombu.common.itermessages`; parameters as for `adrain_consumer`.
    """
    from kombu.common import itermessages

    make = partial(
        itermessages, conn, channel, queue, limit, timeout, callbacks, **kwargs
    )
    async with aclosing(stream(route_of(conn), make)) as items:
        async for item in items:
            yield item


@compound("eventloop", "stream")
async def aeventloop(
    conn: Any,
    limit: int | None = None,
    timeout: float | None = None,
    ignore_timeouts: bool = False,
) -> AsyncIterator[Any]:
    """Wait for events again and again: iterate over what draining them gives.

    Mirrors `kombu.common.eventloop`.

    Arguments:
        conn: the connection.
        limit: how many events, None for no limit.
        timeout: seconds per event.
        ignore_timeouts: go on when no event comes in time.

    Raises:
        socket.timeout: no event came in time.
    """
    from kombu.common import eventloop

    make = partial(eventloop, conn, limit, timeout, ignore_timeouts)
    async with aclosing(stream(route_of(conn), make)) as items:
        async for item in items:
            yield item


@compound("send_reply", "leaf")
async def asend_reply(
    exchange: Any,
    req: Any,
    msg: Any,
    producer: Any = None,
    retry: bool = False,
    retry_policy: dict[str, Any] | None = None,
    **props: Any,
) -> Any:
    """Await the hand-over of a reply to the broker.

    Mirrors `kombu.common.send_reply`.

    Arguments:
        exchange: where to send it.
        req: the message to reply to; it has a property `reply_to`.
        msg: the reply.
        producer: sends it.
        retry: try again when the connection breaks.
        retry_policy: as for `Connection.aensure`.
        **props: as for `Producer.apublish`.
    """
    from kombu.common import send_reply

    route = producer_route(producer)
    call = partial(
        send_reply, exchange, req, msg, producer, retry, retry_policy, **props
    )
    return await perform(route, call, deadline=route.deadline)


@compound("collect_replies", "stream")
async def acollect_replies(
    conn: Any, channel: Any, queue: Any, *args: Any, **kwargs: Any
) -> AsyncIterator[Any]:
    """Iterate over the bodies of replies as they arrive in a queue.

    Mirrors `kombu.common.collect_replies`; parameters as for `aitermessages`. Replies
    are acknowledged, or need none (`no_ack=True`, the default).
    """
    from kombu.common import collect_replies

    make = partial(collect_replies, conn, channel, queue, *args, **kwargs)
    async with aclosing(stream(route_of(conn), make)) as items:
        async for item in items:
            yield item


class _IgnoringErrors:
    """A call (`await`) or a block (`async with`) that ignores connection errors."""

    def __init__(
        self, conn: Any, fun: Callable[..., Any] | None, call: Callable[[Any], Any]
    ) -> None:
        self._conn = conn
        self._fun = fun
        self._call = call
        self._manager: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._fun is None:
            raise TypeError("without a function it is for `async with`")
        return self._run(self._fun).__await__()

    async def _run(self, fun: Callable[..., Any]) -> Any:
        call = partial(self._call, Relay().sync(fun))
        return await talk(_via(self._conn), call)

    async def __aenter__(self) -> None:
        self._manager = self._call(None)
        self._manager.__enter__()

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        return bool(self._manager.__exit__(*exc_info))


@compound("ignore_errors", "enter")
def aignore_errors(
    conn: Any, fun: Callable[..., Any] | None = None, *args: Any, **kwargs: Any
) -> Any:
    """Ignore connection and channel errors of a call or of a block.

    Mirrors `kombu.common.ignore_errors`: `await aignore_errors(conn, fun, ...)` calls
    `fun`, which may be a coroutine function, and `async with aignore_errors(conn):`
    guards what is awaited inside.

    Arguments:
        conn: has `connection_errors` and `channel_errors`.
        fun: what to call.
        *args: for `fun`.
        **kwargs: for `fun`.
    """
    from kombu.common import ignore_errors

    def call(fun: Any) -> Any:
        return ignore_errors(conn, fun, *args, **kwargs)

    return _IgnoringErrors(conn, fun, call)


class _Held:
    """The pool that `insured` finds: it has the connection that we waited for."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.taken = False

    def acquire(self, block: bool = False) -> Any:
        self.taken = True
        return self._connection


@compound("insured")
async def ainsured(
    pool: Any,
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    errback: Callable[[BaseException, float], Any] | None = None,
    on_revive: Callable[[Any], Any] | None = None,
    **opts: Any,
) -> Any:
    """Await `fun` on a connection of a pool, again when the connection breaks.

    Mirrors `kombu.common.insured`. `fun` gets keyword arguments `channel` and
    `connection` and may be a coroutine function, as the callbacks may.

    Arguments:
        pool: it is waited for.
        fun: what to do.
        args: for `fun`.
        kwargs: for `fun`.
        errback: gets the exception and the seconds until the next try.
        on_revive: gets the channel after a reconnect.
        **opts: as for `Connection.aensure`.
    """
    from kombu.common import insured

    relay = Relay()
    route = route_of(pool.connection)
    connection = await acquire(pool, route, lambda found: found, True, None)
    held = _Held(connection)
    call = partial(
        insured,
        held,
        relay.sync(fun),
        args,
        kwargs,
        errback and relay.sync(errback),
        on_revive and relay.sync(on_revive),
        **opts,
    )
    try:
        return await talk(route_of(connection), call)
    finally:
        if not held.taken:
            # Cancelled before a thread began: nobody has used the connection.
            connection.release()


@compound("revive_connection")
async def arevive_connection(
    connection: Any, channel: Any, on_revive: Callable[[Any], Any] | None = None
) -> None:
    """Await the callback for a connection that works again.

    Mirrors `kombu.common.revive_connection`; it may be a coroutine function.
    """
    from kombu.common import revive_connection

    callback = on_revive and Relay().sync(on_revive)
    call = partial(revive_connection, connection, channel, callback)
    await talk(_via(connection), call)


def _via(conn: Any) -> Route:
    return route_of(conn if hasattr(conn, "transport_cls") else connection_of(conn))


class QoSMixin:
    """Awaitable methods of `kombu.common.QoS`.

    Its callback is a method of a consumer or of a channel, whose connection it uses.
    """

    callback: Callable[..., Awaitable[Any] | Any]

    def _bridge_route(self) -> Route:
        owner = getattr(self.callback, "__self__", None)
        # A consumer has a channel, a channel has none.
        return bound_route(getattr(owner, "channel", owner))

    @leaf
    async def aset(self, pcount: int) -> int:
        """Await the setting of the prefetch count; return it.

        Mirrors `kombu.common.QoS.set`.
        """
        ...

    @leaf
    async def aupdate(self) -> int:
        """Await the setting of the prefetch count to the current value; return it.

        Mirrors `kombu.common.QoS.update`.
        """
        ...
