"""Twins for `celery.backends.base.BaseKeyValueStoreBackend`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from .._gathering import many, rounds
from ._route import backend_object_route, sending_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("KeyValueStoreBackendMixin",)

_OMITTED: Any = object()


class KeyValueStoreBackendMixin:
    """Awaitable methods of backends that store results under keys."""

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    def _bridge_sending_route(self) -> Route:
        return sending_route(self)

    @leaf
    async def aget(self, key: bytes | str) -> Any:
        """Await the value of a key, or None.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.get`.
        """
        ...

    @leaf
    async def aset(self, key: bytes | str, value: bytes | str) -> Any:
        """Await the storage of a value.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.set`.
        """
        ...

    @leaf
    async def adelete(self, key: bytes | str) -> Any:
        """Await the removal of a key.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.delete`.
        """
        ...

    @leaf
    async def aincr(self, key: bytes | str) -> int:
        """Await a counter's next value.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.incr`.
        """
        ...

    @leaf
    async def aexpire(self, key: bytes | str, value: float) -> Any:
        """Await the limitation of a key's life, in seconds.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.expire`.
        """
        ...

    @leaf
    async def atask_result_exists(self, task_id: str) -> bool:
        """Await whether anything is stored about a task (Celery 5.7).

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.task_result_exists`.
        """
        ...

    @leaf(route="_bridge_sending_route", unbounded=True)
    async def aon_chord_part_return(
        self, request: Any, state: str, result: Any, **kwargs: Any
    ) -> Any:
        """Await the accounting for a finished task of a chord's header.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.on_chord_part_return`.
        The last one sends the body.
        """
        ...

    @leaf(of="_store_result")
    async def _astore_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Await the storage of a state, unless the task has succeeded already.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._store_result`.
        """
        ...

    @leaf(of="_apply_chord_incr", route="_bridge_sending_route")
    async def _aapply_chord_incr(
        self, header_result_args: Any, body: Any, **kwargs: Any
    ) -> Any:
        """Await the preparations for a chord that counts its parts.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._apply_chord_incr`.
        """
        ...

    @leaf(of="_save_group")
    async def _asave_group(self, group_id: str, result: Any) -> Any:
        """Await the storage of a group.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._save_group`.
        """
        ...

    @leaf(of="_delete_group")
    async def _adelete_group(self, group_id: str) -> Any:
        """Await the removal of a stored group.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._delete_group`.
        """
        ...

    @leaf(of="_get_task_meta_for")
    async def _aget_task_meta_for(self, task_id: str) -> dict[str, Any]:
        """Await everything that is stored about a task, past the cache.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._get_task_meta_for`.
        """
        ...

    @leaf(of="_restore_group")
    async def _arestore_group(self, group_id: str) -> dict[str, Any] | None:
        """Await everything that is stored about a group.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._restore_group`.
        """
        ...

    @leaf(of="_forget")
    async def _aforget(self, task_id: str) -> None:
        """Await the removal of a result.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend._forget`.
        """
        ...

    async def amget(self, keys: Iterable[bytes | str]) -> Any:
        """Await the values of several keys, in one request where the server can.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.mget`. Where that is a
        generator, the values come as a list.
        """
        from .._waiting import in_tier

        def read() -> Any:
            values = self.mget(keys)  # type: ignore[attr-defined]
            return list(values) if hasattr(values, "__next__") else values

        return await in_tier(backend_object_route(self), read)

    async def aget_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        max_iterations: int | None = None,
        READY_STATES: Any = _OMITTED,
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Iterate over `(task_id, meta)` of tasks as they become ready.

        Mirrors `celery.backends.base.BaseKeyValueStoreBackend.get_many`. No thread is
        held between two looks.

        Arguments:
            task_ids: the tasks.
            timeout: seconds for all of them.
            interval: seconds between two looks, at most.
            no_ack: accepted as upstream does.
            on_message: called with each meta.
            on_interval: called after each interval without a result.
            max_iterations: end after so many looks.
            READY_STATES: the states that count as ready.

        Raises:
            celery.exceptions.TimeoutError: they were not all ready in time.
        """
        if max_iterations is None and READY_STATES is _OMITTED:
            metas = many(
                self,
                task_ids,
                timeout=timeout,
                interval=interval,
                on_message=on_message,
                on_interval=on_interval,
            )
        else:
            chosen = {} if READY_STATES is _OMITTED else {"READY_STATES": READY_STATES}
            metas = rounds(
                self,
                task_ids,
                timeout=timeout,
                interval=interval,
                on_message=on_message,
                on_interval=on_interval,
                max_iterations=max_iterations,
                **chosen,
            )
        async with aclosing(metas):  # type: ignore[type-var]
            async for pair in metas:
                yield pair
