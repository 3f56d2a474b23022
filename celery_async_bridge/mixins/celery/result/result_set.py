"""Twins for `celery.result.ResultSet`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._gathering import iterate
from .._route import backend_route
from .._waiting import in_tier
from ..backends._route import backend_object_route
from .async_result import broadcast

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("ResultSetMixin",)


class ResultSetMixin:
    """Awaitable methods of `celery.result.ResultSet` and `GroupResult`.

    Waits hold no thread; see `AsyncResult.aget`.
    """

    app: Any
    results: Any
    supports_native_join: bool | None

    def _bridge_route(self) -> Route:
        for result in self.results:
            if getattr(result, "backend", None) is not None:
                return backend_object_route(result.backend)
        return backend_route(self.app)

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> list[Any] | None:
        """Await all results: `ajoin_native` where the backend can, else `ajoin`.

        Mirrors `celery.result.ResultSet.get`.
        """
        join = self.ajoin_native if self.supports_native_join else self.ajoin
        return await join(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    async def ajoin(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Await the results one after the other and return their values in order.

        Mirrors `celery.result.ResultSet.join`.

        Arguments:
            timeout: seconds for all of them.
            propagate: raise the first error instead of returning it as a value.
            interval: seconds between two looks at a backend that is polled, at most.
            callback: called as `callback(task_id, value)` for each; then the list
                that is returned stays empty.
            no_ack: accepted as upstream does.
            on_message: refused, as by upstream.
            disable_sync_subtasks: refuse to wait inside a task that blocks a worker.
            on_interval: called on the loop after each interval without a result.

        Raises:
            celery.exceptions.TimeoutError: they did not all come in time.
            Exception: what a task raised.
        """
        from celery import result as upstream
        from celery.exceptions import ImproperlyConfigured

        if disable_sync_subtasks:
            upstream.assert_will_not_block()  # type: ignore[attr-defined]
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        left = _countdown(timeout)
        values = []
        for one in self.results:
            value = await one.aget(
                timeout=left(),
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            if callback:
                callback(one.id, value)
            else:
                values.append(value)
        return values

    async def ajoin_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:
        """Await all results at once and return their values in order.

        Mirrors `celery.result.ResultSet.join_native`. The timeout also bounds the
        members of nested sets, for which upstream waits without one.

        Arguments:
            timeout: seconds for all of them.
            propagate: raise the first error instead of returning it as a value.
            interval: seconds between two looks at a backend that is polled, at most.
            callback: called as `callback(task_id, value)` as each arrives; then None
                is returned.
            no_ack: accepted as upstream does.
            on_message: called with each meta that arrives; only for backends that
                push their results.
            on_interval: called on the loop after each interval without a result.
            disable_sync_subtasks: refuse to wait inside a task that blocks a worker.

        Raises:
            celery.exceptions.TimeoutError: they did not all come in time.
            Exception: what a task raised.
        """
        from celery import result as upstream
        from celery import states

        if disable_sync_subtasks:
            upstream.assert_will_not_block()  # type: ignore[attr-defined]
        left = _countdown(timeout)
        places = {one.id: place for place, one in enumerate(self.results)}
        values: list[Any] | None = None if callback else [None] * len(self.results)
        metas = self.aiter_native(timeout, interval, no_ack, on_message, on_interval)
        async with aclosing(metas):  # type: ignore[type-var]
            async for task_id, meta in metas:
                if isinstance(meta, list):
                    value: Any = [
                        await child.aget(
                            timeout=left(),
                            propagate=propagate,
                            disable_sync_subtasks=disable_sync_subtasks,
                        )
                        for child in meta
                    ]
                else:
                    value = meta["result"]
                    if propagate and meta["status"] in states.PROPAGATE_STATES:
                        raise value
                if callback:
                    callback(task_id, value)
                elif values is not None:
                    values[places[task_id]] = value
        return values

    async def aiter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over `(task_id, meta)` as results arrive.

        Mirrors `celery.result.ResultSet.iter_native`. An empty set gives nothing. For
        a nested set, the second item is the list of its results.

        Raises:
            celery.exceptions.TimeoutError: they did not all come in time.
        """
        full = self._on_full  # type: ignore[attr-defined]
        await in_tier(self._bridge_route(), full.finalize)
        if not self.results:
            return
        found = (getattr(one, "backend", None) for one in self.results)
        backend = next((one for one in found if one is not None), None)
        metas = iterate(
            self.app.backend if backend is None else backend,
            self,
            timeout=timeout,
            interval=interval,
            no_ack=no_ack,
            on_message=on_message,
            on_interval=on_interval,
        )
        async with aclosing(metas):  # type: ignore[type-var]
            async for pair in metas:
                yield pair

    @leaf
    async def aadd(self, result: Any) -> None:
        """Await the addition of a result; a member is not added twice.

        Mirrors `celery.result.ResultSet.add`, which subscribes to the result with
        backends that push.
        """
        ...

    @leaf
    async def asuccessful(self) -> bool:
        """Await whether all tasks have finished without an error.

        Mirrors `celery.result.ResultSet.successful`.
        """
        ...

    @leaf
    async def afailed(self) -> bool:
        """Await whether any task has failed.

        Mirrors `celery.result.ResultSet.failed`.
        """
        ...

    @leaf
    async def amaybe_throw(
        self,
        callback: Callable[[str, Any], object] | None = None,
        propagate: bool = True,
    ) -> None:
        """Await a look at all tasks; raise the error of one that has failed.

        Mirrors `celery.result.ResultSet.maybe_throw`.
        """
        ...

    @leaf
    async def awaiting(self) -> bool:
        """Await whether any task has not finished.

        Mirrors `celery.result.ResultSet.waiting`.
        """
        ...

    @leaf
    async def aready(self) -> bool:
        """Await whether all tasks have finished.

        Mirrors `celery.result.ResultSet.ready`.
        """
        ...

    @leaf
    async def acompleted_count(self) -> int:
        """Await the number of tasks that have finished without an error.

        Mirrors `celery.result.ResultSet.completed_count`.
        """
        ...

    @leaf
    async def athen(
        self,
        callback: Callable[..., object],
        on_error: Callable[..., object] | None = None,
        weak: bool = False,
    ) -> Any:
        """Await the registration of a callback for the end of all tasks.

        Mirrors `celery.result.ResultSet.then`.
        """
        ...

    @leaf
    async def aforget(self) -> None:
        """Await the removal of all results.

        Mirrors `celery.result.ResultSet.forget`.
        """
        ...

    async def arevoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Await the broadcast that makes all workers discard these tasks.

        Mirrors `celery.result.ResultSet.revoke`.

        Arguments:
            connection: the Kombu connection to use.
            terminate: also end the processes that execute the tasks.
            signal: the signal for that, "TERM" by default.
            wait: collect the workers' replies.
            timeout: seconds to wait for each of them.
        """
        revoke = partial(
            self.revoke,  # type: ignore[attr-defined]
            connection=connection,
            terminate=terminate,
            signal=signal,
            wait=wait,
            timeout=timeout,
        )
        await broadcast(self.app, revoke, wait, connection)


def _countdown(timeout: float | None) -> Callable[[], float | None]:
    clock = asyncio.get_running_loop().time
    end = None if timeout is None else clock() + timeout
    return lambda: None if end is None else max(end - clock(), 0.0)
