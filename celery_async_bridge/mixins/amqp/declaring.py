"""Twins for the methods of `amqp.channel` about exchanges and queues."""

from __future__ import annotations

from typing import Any

from .._twin import leaf

__all__ = ("DeclaringMixin",)

Arguments = dict[str, Any]


class DeclaringMixin:
    """Awaitable methods of `amqp.Channel` that declare, bind and delete."""

    @leaf
    async def aexchange_declare(
        self,
        exchange: str,
        type: str,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BssbbbbbF",
    ) -> Any:
        """Await the declaration of an exchange.

        Mirrors `amqp.channel.Channel.exchange_declare`.

        Raises:
            NotFound: `passive`, and it does not exist.
            PreconditionFailed: it exists with other properties.
        """
        ...

    @leaf
    async def aexchange_delete(
        self,
        exchange: str,
        if_unused: bool = False,
        nowait: bool = False,
        argsig: str = "Bsbb",
    ) -> Any:
        """Await the deletion of an exchange.

        Mirrors `amqp.channel.Channel.exchange_delete`.

        Raises:
            PreconditionFailed: `if_unused`, and it is in use.
        """
        ...

    @leaf
    async def aexchange_bind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BsssbF",
    ) -> Any:
        """Await the binding of an exchange to another one.

        Mirrors `amqp.channel.Channel.exchange_bind`.
        """
        ...

    @leaf
    async def aexchange_unbind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BsssbF",
    ) -> Any:
        """Await the end of a binding between exchanges.

        Mirrors `amqp.channel.Channel.exchange_unbind`.
        """
        ...

    @leaf
    async def aqueue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BsbbbbbF",
    ) -> Any:
        """Await the declaration of a queue.

        Mirrors `amqp.channel.Channel.queue_declare`; gives its name, its messages and
        its consumers.

        Raises:
            NotFound: `passive`, and it does not exist.
            PreconditionFailed: it exists with other properties.
            ResourceLocked: it belongs to another connection.
        """
        ...

    @leaf
    async def aqueue_bind(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BsssbF",
    ) -> Any:
        """Await the binding of a queue to an exchange.

        Mirrors `amqp.channel.Channel.queue_bind`.

        Raises:
            NotFound: one of the two does not exist.
        """
        ...

    @leaf
    async def aqueue_unbind(
        self,
        queue: str,
        exchange: str,
        routing_key: str = "",
        nowait: bool = False,
        arguments: Arguments | None = None,
        argsig: str = "BsssF",
    ) -> Any:
        """Await the end of a binding.

        Mirrors `amqp.channel.Channel.queue_unbind`.
        """
        ...

    @leaf
    async def aqueue_delete(
        self,
        queue: str = "",
        if_unused: bool = False,
        if_empty: bool = False,
        nowait: bool = False,
        argsig: str = "Bsbbb",
    ) -> Any:
        """Await the deletion of a queue.

        Mirrors `amqp.channel.Channel.queue_delete`; gives the number of messages lost.

        Raises:
            PreconditionFailed: it is used, or not empty, and that was a condition.
        """
        ...

    @leaf
    async def aqueue_purge(
        self, queue: str = "", nowait: bool = False, argsig: str = "Bsb"
    ) -> int | None:
        """Await the removal of all messages of a queue.

        Mirrors `amqp.channel.Channel.queue_purge`; gives their number.
        """
        ...
