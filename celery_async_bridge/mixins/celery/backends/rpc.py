"""Twins for `celery.backends.rpc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import leaf, waits
from ._route import backend_object_route, sending_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("RPCBackendMixin", "RPCResultConsumerMixin")


class RPCBackendMixin:
    """Awaitable methods of the `rpc://` result backend.

    They run in the thread that sends the app's tasks: the reply queue is its own.
    """

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    def _bridge_sending_route(self) -> Route:
        return sending_route(self)

    @leaf(route="_bridge_sending_route")
    async def aon_task_call(self, producer: Any, task_id: str) -> None:
        """Await the declaration of the reply queue, before a task is sent.

        Mirrors `celery.backends.rpc.RPCBackend.on_task_call`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def astore_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Await the sending of a result to the one who waits for it.

        Mirrors `celery.backends.rpc.RPCBackend.store_result`.
        """
        ...

    @leaf
    async def aforget(self, task_id: str) -> None:
        """Forget what has arrived for a task.

        Mirrors `celery.backends.rpc.RPCBackend.forget`.
        """
        ...

    @leaf
    async def aget_task_meta(
        self, task_id: str, backlog_limit: int = 1000
    ) -> dict[str, Any]:
        """Await everything that has arrived for a task.

        Mirrors `celery.backends.rpc.RPCBackend.get_task_meta`.

        Raises:
            BacklogLimitExceeded: too many messages are in the reply queue.
        """
        ...

    @leaf
    async def apoll(self, task_id: str, backlog_limit: int = 1000) -> dict[str, Any]:
        """Await everything that has arrived for a task.

        Mirrors `celery.backends.rpc.RPCBackend.poll`. Another name of `aget_task_meta`.
        """
        ...

    @leaf
    async def aon_out_of_band_result(self, task_id: str, message: Any) -> None:
        """Await the acknowledgement of a reply that nobody waits for yet.

        Mirrors `celery.backends.rpc.RPCBackend.on_out_of_band_result`.
        """
        ...


class RPCResultConsumerMixin:
    """Awaitable methods of what consumes the reply queue."""

    backend: Any

    def _bridge_route(self) -> Route:
        return backend_object_route(self.backend)

    @leaf
    async def astart(
        self, initial_task_id: str, no_ack: bool = True, **kwargs: Any
    ) -> None:
        """Await a connection of its own and a consumer of the reply queue.

        Mirrors `celery.backends.rpc.ResultConsumer.start`.
        """
        ...

    @leaf
    async def astop(self) -> None:
        """Await the end of the consumer and of its connection.

        Mirrors `celery.backends.rpc.ResultConsumer.stop`.
        """
        ...

    @waits
    async def adrain_events(self, timeout: float | None = None) -> Any:
        """Await one message, or the end of `timeout` seconds.

        Mirrors `celery.backends.rpc.ResultConsumer.drain_events`.

        Raises:
            TimeoutError: (builtin) nothing came.
        """
        ...

    @leaf
    async def aconsume_from(self, task_id: str) -> None:
        """Await a consumer that receives a task's result.

        Mirrors `celery.backends.rpc.ResultConsumer.consume_from`.
        """
        ...

    @leaf
    async def acancel_for(self, task_id: str) -> None:
        """Await the end of the consumer that receives a task's result.

        Mirrors `celery.backends.rpc.ResultConsumer.cancel_for`.
        """
        ...
