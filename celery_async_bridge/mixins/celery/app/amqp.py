"""Twins for `celery.app.amqp`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..._twin import Making, leaf, makes, reads
from ...kombu._route import bound_route
from .._route import app_route, send_route
from .._sending import sends, way_of

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("AMQPMixin",)


class AMQPMixin:
    """Awaitable methods of `app.amqp`.

    Each runs natively where the broker has a driver, else in a thread. Deadline: the
    setting `async_publish_timeout`.
    """

    if TYPE_CHECKING:
        app: Any

    def _bridge_route(self, channel: Any = None) -> Route:
        return app_route(self.app) if channel is None else bound_route(channel)

    def _bridge_both_route(self) -> Route:
        return send_route(self.app)

    def _bridge_send_route(self, given: Mapping[str, Any]) -> Route:
        return way_of(self.app, given, results=False)

    def _bridge_eager(self) -> None:
        return None

    @sends(option="")
    async def asend_task_message(
        self,
        producer: Any,
        name: str,
        message: Any,
        exchange: Any = None,
        routing_key: str | None = None,
        queue: Any = None,
        event_dispatcher: Any = None,
        retry: bool | None = None,
        retry_policy: dict[str, Any] | None = None,
        serializer: str | None = None,
        delivery_mode: int | str | None = None,
        compression: str | None = None,
        declare: list[Any] | None = None,
        headers: dict[str, Any] | None = None,
        exchange_type: str | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Await the sending of a message made by `create_task_message`.

        Mirrors `celery.app.amqp.AMQP.send_task_message`. The producer's connection is
        used by one call at a time.

        Arguments:
            producer: the producer to send with.
            name: the name of the task.
            message: headers, properties, body and event.
            exchange: where to, instead of the queue's.
            routing_key: by which key, instead of the queue's.
            queue: the queue, or its name.
            event_dispatcher: sends the `task-sent` event, if events are on.
            retry: try again when the connection is lost.
            retry_policy: how often and when.
            serializer: of the body.
            delivery_mode: persistent or transient.
            compression: of the body.
            declare: entities to declare first; default: the queue.
            headers: headers to add.
            exchange_type: the type of `exchange`, if it is a name.
            timeout: seconds for one attempt, where the transport knows timeouts.
            confirm_timeout: seconds for the broker's confirmation.
            kwargs: message properties.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @makes(of="TaskConsumer", via="channel")
    def ataskconsumer(
        self, channel: Any, queues: Any = None, accept: Any = None, **kw: Any
    ) -> Making:
        """Await a consumer of the app's queues, declared; `async with` starts it, too.

        Mirrors `celery.app.amqp.AMQP.TaskConsumer`.

        Arguments:
            channel: the channel or connection to consume on.
            queues: the queues; default: those of the app.
            accept: content types to accept; default: those of the app.
            kw: options of `kombu.Consumer`.

        Raises:
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        ...

    @reads
    async def aproducer_pool(self) -> Any:
        """Await the app's pool of producers.

        Mirrors `celery.app.amqp.AMQP.producer_pool`.
        """
        ...

    @leaf(of="_retry_publish", route="_bridge_both_route")
    async def _aretry_publish(
        self, publish: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Await a sync publish under the retry rules of callbacks.

        Mirrors `celery.app.amqp.AMQP._retry_publish` (Celery 5.7).
        """
        ...
