"""Twins for `kombu.compat`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .._twin import compound, leaf, reads, streams, waits
from .messaging import ConsumerMixin, ProducerMixin

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ("CompatConsumerMixin", "ConsumerSetMixin", "PublisherMixin")


class PublisherMixin(ProducerMixin):
    """Awaitable methods of `kombu.compat.Publisher`."""

    @leaf
    async def asend(self, *args: Any, **kwargs: Any) -> Any:
        """Await the hand-over of a message to the broker.

        Mirrors `kombu.compat.Publisher.send`; parameters as for `apublish`, without
        its `publish_timeout`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of the publisher, which leaves its connection open.

        Mirrors `kombu.compat.Publisher.close`.
        """
        ...

    @reads
    async def abackend(self) -> Any:
        """Await the publisher's channel; connect and open one, if need be.

        Mirrors reading `kombu.compat.Publisher.backend`.
        """
        ...

    @compound("__enter__")
    async def __aenter__(self) -> Any:
        """Return the publisher."""
        return self

    @leaf(of="__exit__")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close."""
        ...


class CompatConsumerMixin(ConsumerMixin):
    """Awaitable methods of `kombu.compat.Consumer`.

    Its constructor opens a channel and declares: build it in a thread, or on a
    connection whose transport has a driver.
    """

    @leaf(via="channel")
    async def arevive(self, channel: Any) -> None:
        """Await the move to another channel, on which consuming goes on.

        Mirrors `kombu.compat.Consumer.revive`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of consuming and the closing of the channel.

        Mirrors `kombu.compat.Consumer.close`.
        """
        ...

    @leaf
    async def afetch(
        self, no_ack: bool | None = None, enable_callbacks: bool = False
    ) -> Any:
        """Await one waiting message, or None if there is none.

        Mirrors `kombu.compat.Consumer.fetch`.

        Arguments:
            no_ack: the message counts as acknowledged when it is delivered.
            enable_callbacks: call the callbacks with it.
        """
        ...

    @leaf
    async def adiscard_all(self, filterfunc: Any = None) -> int:
        """Await the deletion of all waiting messages; return their number.

        Mirrors `kombu.compat.Consumer.discard_all`.

        Raises:
            NotImplementedError: there is a `filterfunc`.
        """
        ...

    @streams
    def aiterconsume(
        self, limit: int | None = None, no_ack: bool | None = None
    ) -> AsyncIterator[Any]:
        """Consume and iterate over what draining an event gives.

        Mirrors `kombu.compat.Consumer.iterconsume`.

        Arguments:
            limit: how many events, None for no limit.
            no_ack: messages count as acknowledged when they are delivered.
        """
        ...

    # The twin of `wait` would be `await`, a keyword.
    @waits(of="wait")
    async def await_(self, limit: int | None = None) -> list[Any]:
        """Wait for `limit` events and return what draining them gave.

        Mirrors `kombu.compat.Consumer.wait`, which never ends without a limit.
        """
        ...

    @waits(of="wait")
    async def acollect_all(self, limit: int | None = None) -> list[Any]:
        """Wait for `limit` events: another name of `await_`."""
        ...

    @streams
    def aiterqueue(
        self, limit: int | None = None, infinite: bool = False
    ) -> AsyncIterator[Any]:
        """Fetch and iterate over waiting messages until there are none.

        Mirrors `kombu.compat.Consumer.iterqueue`.

        Arguments:
            limit: how many messages at most.
            infinite: go on, with None, when there are none.
        """
        ...

    @compound("__iter__", "stream")
    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over messages for ever, with None when there are none."""
        return self.aiterqueue(infinite=True)

    @compound("__enter__")
    async def __aenter__(self) -> Any:
        """Return the consumer, which does not consume yet."""
        return self

    @leaf(of="__exit__")
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close."""
        ...


class ConsumerSetMixin(ConsumerMixin):
    """Awaitable methods of `kombu.compat.ConsumerSet`.

    Its constructor may open a channel and declares: build it in a thread, or on a
    connection whose transport has a driver.
    """

    @streams
    def aiterconsume(
        self, limit: int | None = None, no_ack: bool = False
    ) -> AsyncIterator[Any]:
        """Consume and iterate over what draining an event gives.

        Mirrors `kombu.compat.ConsumerSet.iterconsume`.

        Arguments:
            limit: how many events, None for no limit.
            no_ack: messages count as acknowledged when they are delivered.
        """
        ...

    @leaf
    async def adiscard_all(self) -> int:
        """Await the deletion of all waiting messages; return their number.

        Mirrors `kombu.compat.ConsumerSet.discard_all`.
        """
        ...

    @leaf
    async def aadd_consumer_from_dict(self, queue: str, **options: Any) -> Any:
        """Await the declaration of a queue that is described by options.

        Mirrors `kombu.compat.ConsumerSet.add_consumer_from_dict`.

        Arguments:
            queue: its name.
            **options: as for `Queue.from_dict`.
        """
        ...

    @leaf
    async def aadd_consumer(self, consumer: Any) -> None:
        """Await the declaration of the queues of another consumer.

        Mirrors `kombu.compat.ConsumerSet.add_consumer`.
        """
        ...

    @leaf(via="channel")
    async def arevive(self, channel: Any) -> None:
        """Await the move to another channel, on which consuming goes on.

        Mirrors `kombu.compat.ConsumerSet.revive`.
        """
        ...

    @leaf
    async def aclose(self) -> None:
        """Await the end of consuming and the closing of the set's own channel.

        Mirrors `kombu.compat.ConsumerSet.close`.
        """
        ...
