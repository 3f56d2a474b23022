"""Twins for `celery.backends.redis`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..._twin import enters, leaf, waits
from ._route import backend_object_route, sending_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("RedisBackendMixin", "RedisResultConsumerMixin")


class RedisBackendMixin:
    """Awaitable methods of the Redis result backend (also behind Sentinel)."""

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    def _bridge_sending_route(self) -> Route:
        return sending_route(self)

    @leaf
    async def aon_task_call(self, producer: Any, task_id: str) -> None:
        """Await the subscription to the result of a task that is being sent.

        Mirrors `celery.backends.redis.RedisBackend.on_task_call`.
        """
        ...

    @leaf
    async def aget(self, key: bytes | str) -> bytes | None:
        """Await the value of a key, or None.

        Mirrors `celery.backends.redis.RedisBackend.get`.
        """
        ...

    @leaf
    async def amget(self, keys: Sequence[bytes | str]) -> list[bytes | None]:
        """Await the values of several keys.

        Mirrors `celery.backends.redis.RedisBackend.mget`.
        """
        ...

    @leaf(unbounded=True)
    async def aensure(
        self, fun: Callable[..., Any], args: Sequence[Any], **policy: Any
    ) -> Any:
        """Await a sync call that is repeated while the connection fails.

        Mirrors `celery.backends.redis.RedisBackend.ensure`. Cancelled, it ends at the
        next pause between two attempts.
        """
        ...

    @leaf
    async def aset(
        self,
        key: bytes | str,
        value: bytes | str,
        expires: float | None = None,
        **retry_policy: Any,
    ) -> Any:
        """Await the storage of a value, and its announcement to those who wait.

        Mirrors `celery.backends.redis.RedisBackend.set`. `expires` needs Celery 5.7.
        """
        ...

    @leaf
    async def aforget(self, task_id: str) -> None:
        """Await the removal of a result, and the end of its subscription.

        Mirrors `celery.backends.redis.RedisBackend.forget`.
        """
        ...

    @leaf
    async def adelete(self, key: bytes | str) -> None:
        """Await the removal of a key.

        Mirrors `celery.backends.redis.RedisBackend.delete`.
        """
        ...

    @leaf
    async def aincr(self, key: bytes | str) -> int:
        """Await a counter's next value.

        Mirrors `celery.backends.redis.RedisBackend.incr`.
        """
        ...

    @leaf
    async def aexpire(self, key: bytes | str, value: float) -> Any:
        """Await the limitation of a key's life, in seconds.

        Mirrors `celery.backends.redis.RedisBackend.expire`.
        """
        ...

    @leaf
    async def aadd_to_chord(self, group_id: str, result: Any) -> None:
        """Await the enlargement of a chord by one task.

        Mirrors `celery.backends.redis.RedisBackend.add_to_chord`.
        """
        ...

    @leaf
    async def aset_chord_size(self, group_id: str, chord_size: int) -> None:
        """Await the storage of the number of a chord's header tasks.

        Mirrors `celery.backends.redis.RedisBackend.set_chord_size`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def aapply_chord(
        self, header_result_args: Any, body: Any, **kwargs: Any
    ) -> None:
        """Await the preparations for a chord.

        Mirrors `celery.backends.redis.RedisBackend.apply_chord`.
        """
        ...

    @leaf(route="_bridge_sending_route", unbounded=True)
    async def aon_chord_part_return(
        self,
        request: Any,
        state: str,
        result: Any,
        propagate: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Await the accounting for a finished task of a chord's header.

        Mirrors `celery.backends.redis.RedisBackend.on_chord_part_return`. The last one
        sends the body.
        """
        ...


class RedisResultConsumerMixin:
    """Awaitable methods of what subscribes to results in Redis."""

    backend: Any

    def _bridge_route(self) -> Route:
        return backend_object_route(self.backend)

    @leaf
    async def astart(self, initial_task_id: str, **kwargs: Any) -> None:
        """Await a new subscription connection and its first subscription.

        Mirrors `celery.backends.redis.ResultConsumer.start`.
        """
        ...

    @leaf
    async def astop(self) -> None:
        """Await the end of the subscription connection.

        Mirrors `celery.backends.redis.ResultConsumer.stop`.
        """
        ...

    @waits
    async def adrain_events(self, timeout: float | None = None) -> None:
        """Await one message, or the end of `timeout` seconds.

        Mirrors `celery.backends.redis.ResultConsumer.drain_events`. It occupies a
        thread of the waiting lane meanwhile; upstream returns after a second at the
        latest.
        """
        ...

    @leaf
    async def aconsume_from(self, task_id: str) -> None:
        """Await the subscription to a task's result.

        Mirrors `celery.backends.redis.ResultConsumer.consume_from`.
        """
        ...

    @leaf
    async def acancel_for(self, task_id: str) -> None:
        """Await the end of the subscription to a task's result.

        Mirrors `celery.backends.redis.ResultConsumer.cancel_for`.
        """
        ...

    @leaf
    async def aon_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Await a look at what is stored about a result that is waited for.

        Mirrors `celery.backends.redis.ResultConsumer.on_wait_for_pending`.
        """
        ...

    @enters
    def areconnect_on_error(self) -> Any:
        """Reconnect when the block ends in a connection error: `async with`.

        Mirrors `celery.backends.redis.ResultConsumer.reconnect_on_error`, which moved
        to the base class in Celery 5.7.
        """
        ...
