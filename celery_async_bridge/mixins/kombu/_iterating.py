"""`async for message in ...`: a consumer, or a queue, as an iterator."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from ._ready import own_event
from ._receiving import limit_of
from ._route import connection_of

__all__ = ("finish_all", "messages_from", "messages_of")

_ACTIVE = "_bridge_iteration"
_KEPT = "_bridge_kept"
_ALL = "_bridge_iterations"


class _Iteration:
    """A consumer whose messages go to whoever iterates over it."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.connection = connection_of(consumer.channel)
        self.users = 0
        self._callbacks = consumer.callbacks
        self._limited = False
        self._goes_on = False
        self._box: Any = None

    async def begin(self) -> None:
        """Start consuming, with a prefetch limit of one if there is none."""
        from kombu.simple import SimpleBase

        consumer, mine = self.consumer, vars(self.consumer)
        mine[_ACTIVE] = self
        vars(self.connection).setdefault(_ALL, {})[self] = None
        # As for upstream's `drain_consumer`: its own callbacks have a rest.
        consumer.callbacks = []
        box: Any = SimpleBase
        self._box = box(consumer.channel, None, consumer, consumer.no_ack)
        self._box.buffer.extend(mine.pop(_KEPT, ()))
        self._goes_on = bool(consumer._active_tags and self._callbacks)
        if not limit_of(consumer):
            # RabbitMQ heeds a limit for consumers that start after it was set.
            await consumer.acancel()
            await consumer.aqos(prefetch_count=1)
            self._limited = True

    async def next(self) -> Any:
        """Wait for a message; one that was claimed already is taken at once."""
        buffer: deque[Any] = self._box.buffer
        while self.consumer._active_tags:  # else consuming is begun first
            if buffer:
                return buffer.popleft()
            came = own_event(self.connection, {}, waits=False)
            if came is None:
                break
            if came is not True and came is not False:
                await came
        return await self._box.aget()

    @property
    def open(self) -> bool:
        """Whether there will be more messages."""
        return vars(self.consumer).get(_ACTIVE) is self

    async def finish(self, *, last: bool = False) -> None:
        """Return what nobody has received, and let the consumer be what it was.

        Arguments:
            last: it is about to end itself.
        """
        if not self.open:
            return
        consumer, mine = self.consumer, vars(self.consumer)
        del mine[_ACTIVE]
        vars(self.connection)[_ALL].pop(self, None)
        free = set(getattr(consumer.channel, "no_ack_consumers", None) or ())
        try:
            with suppress(Exception):  # the connection may have been lost, or closed
                # First, or it would be given again what it gives back.
                await consumer.acancel()
                await self._give_back(free)
                if self._limited:
                    await consumer.aqos(prefetch_count=0)
        finally:
            consumer.callbacks = self._callbacks
        if self._goes_on and not last:
            await consumer.aconsume()

    async def _give_back(self, free: set[str]) -> None:
        left: deque[Any] = self._box.buffer
        kept = [message for message in left if not _needs_ack(message, free)]
        if kept:
            # The broker has forgotten them: the next iteration gets them.
            vars(self.consumer)[_KEPT] = kept
        for message in list(left):
            if message not in kept:
                await message.arequeue()


def _needs_ack(message: Any, free: set[str]) -> bool:
    qos = getattr(message.channel, "qos", None)
    if qos is not None:
        return message.delivery_tag in qos._delivered
    return message.delivery_info.get("consumer_tag") not in free


async def messages_of(consumer: Any) -> AsyncIterator[Any]:
    """Iterate over the messages of a consumer.

    Raises:
        ValueError: the consumer has an `on_message`, or no queue.
    """
    if not consumer.queues:
        raise ValueError("the consumer has no queue: `await consumer.aadd_queue(...)`")
    if consumer.on_message is not None:
        raise ValueError(
            "messages go to `on_message` of this consumer: leave that out, or wait "
            "with `adrain_events` instead of iterating"
        )
    iteration: Any = vars(consumer).get(_ACTIVE)
    if iteration is None:
        iteration = _Iteration(consumer)
    iteration.users += 1
    try:
        if iteration.users == 1:
            await iteration.begin()
        while iteration.open:
            yield await iteration.next()
    finally:
        iteration.users -= 1
        if not iteration.users:
            await iteration.finish()


async def messages_from(queue: Any) -> AsyncIterator[Any]:
    """Iterate over the messages of a queue, on a channel of its own.

    Raises:
        NotBoundError: the queue is not bound to a channel or connection.
    """
    connection = connection_of(queue.channel)
    channel = await connection.achannel()
    given: deque[Any] = deque()
    try:
        consumer = await connection.aconsumer(
            [queue], channel, no_ack=queue.no_ack, prefetch_count=1
        )
        messages = messages_of(consumer)
        try:
            async for message in messages:
                while given and given[0].acknowledged:
                    given.popleft()
                if not queue.no_ack:
                    given.append(message)
                yield message
        finally:
            await messages.aclose()  # type: ignore[attr-defined]
    finally:
        # Else it is closed with its connection: what it has delivered can only be
        # settled there.
        if all(message.acknowledged for message in given):
            with suppress(Exception):
                await channel.aclose()


async def finish_all(connection: Any, consumer: Any = None) -> None:
    """Finish the iterations over one consumer of a connection, or over all.

    One that was left by `break` is closed by its loop, at some time.
    """
    for iteration in list(getattr(connection, _ALL, ())):
        if consumer is None or iteration.consumer is consumer:
            await iteration.finish(last=True)
