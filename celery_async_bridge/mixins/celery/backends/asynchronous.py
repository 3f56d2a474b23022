"""Twins for `celery.backends.asynchronous`: backends that push their results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..._twin import enters, leaf, streams, waits
from .._gathering import iterate
from ..result._getting import wait_for_result
from ._route import backend_object_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("AsyncBackendMixinMixin", "BaseResultConsumerMixin")


class AsyncBackendMixinMixin:
    """Awaitable methods of backends that push their results (Redis, rpc)."""

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    @leaf
    async def aadd_pending_result(
        self, result: Any, weak: bool = False, start_drainer: bool = True
    ) -> Any:
        """Await the subscription to a result.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.add_pending_result`.
        """
        ...

    @leaf
    async def aadd_pending_results(
        self, results: Iterable[Any], weak: bool = False
    ) -> list[Any]:
        """Await the subscriptions to several results.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.add_pending_results`.
        """
        ...

    @leaf
    async def aremove_pending_result(self, result: Any) -> Any:
        """Await the end of the subscription to a result.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.remove_pending_result`.
        """
        ...

    @leaf
    async def aon_result_fulfilled(self, result: Any) -> None:
        """Await the end of the subscription to a task that is ready.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.on_result_fulfilled`.
        """
        ...

    async def aiter_native(
        self, result: Any, no_ack: bool = True, **kwargs: Any
    ) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over `(task_id, meta)` of a `ResultSet`, as results arrive.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.iter_native`; an empty
        set gives nothing.

        Arguments:
            result: the set.
            no_ack: accepted as upstream does.
            kwargs: `timeout`, `interval`, `on_message`, `on_interval`.
        """
        metas = iterate(self, result, no_ack=no_ack, **kwargs)
        async with aclosing(metas):  # type: ignore[type-var]
            async for pair in metas:
                yield pair

    async def await_for_pending(
        self,
        result: Any,
        callback: Callable[[str, Any], object] | None = None,
        propagate: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Await a result and return its value, or raise what its task raised.

        Mirrors `celery.backends.asynchronous.AsyncBackendMixin.wait_for_pending`. No
        thread is held.

        Arguments:
            result: the `AsyncResult`.
            callback: called as `callback(task_id, value)`.
            propagate: raise the task's exception instead of returning it.
            kwargs: `timeout`, `interval`, `on_message`, `on_interval`, `no_ack`.
        """
        options = {
            "timeout": None,
            "interval": 0.5,
            "on_interval": None,
            "on_message": None,
        }
        return await wait_for_result(
            result,
            backend=self,
            callback=callback,
            propagate=propagate,
            **{**options, **kwargs},
        )


class BaseResultConsumerMixin:
    """Awaitable methods of what receives pushed results."""

    backend: Any

    def _bridge_route(self) -> Route:
        return backend_object_route(self.backend)

    @leaf
    async def astart(self, initial_task_id: str, **kwargs: Any) -> None:
        """Await the begin of consuming.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.start`.
        """
        ...

    @leaf
    async def astop(self) -> None:
        """Await the end of consuming.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.stop`.
        """
        ...

    @waits
    async def adrain_events(self, timeout: float | None = None) -> Any:
        """Await one message, or the end of `timeout` seconds.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.drain_events`.
        """
        ...

    @leaf
    async def aconsume_from(self, task_id: str) -> None:
        """Await the subscription to a task's result.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.consume_from`.
        """
        ...

    @leaf
    async def acancel_for(self, task_id: str) -> None:
        """Await the end of the subscription to a task's result.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.cancel_for`.
        """
        ...

    @leaf
    async def aon_wait_for_pending(
        self, result: Any, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Await what comes before a wait.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.on_wait_for_pending`.
        """
        ...

    @streams
    def adrain_events_until(
        self,
        p: Any,
        timeout: float | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> AsyncIterator[None]:
        """Iterate, once for each drained message, until a promise is fulfilled.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.drain_events_until`.

        Raises:
            TimeoutError: (builtin) it was not fulfilled within `timeout` seconds.
        """
        ...

    @enters
    def areconnect_on_error(self) -> Any:
        """Reconnect when the block ends in a connection error: `async with`.

        Mirrors `celery.backends.asynchronous.BaseResultConsumer.reconnect_on_error`.
        """
        ...
