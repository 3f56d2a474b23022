"""Twins for `celery.backends.base.SyncBackendMixin`: backends that are polled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from ....core.dispatch import talk
from ..._twin import leaf
from .._gathering import iterate
from .._waiting import is_patient, timed_out, watching
from ..result._getting import wait_for_result
from ._route import backend_object_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("SyncBackendMixinMixin",)


class SyncBackendMixinMixin:
    """Awaitable methods of backends that must be asked for results."""

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    @leaf
    async def aadd_pending_result(self, result: Any, weak: bool = False) -> Any:
        """Return the result: nothing is subscribed to.

        Mirrors `celery.backends.base.SyncBackendMixin.add_pending_result`.
        """
        ...

    @leaf
    async def aremove_pending_result(self, result: Any) -> Any:
        """Return the result: nothing was subscribed to.

        Mirrors `celery.backends.base.SyncBackendMixin.remove_pending_result`.
        """
        ...

    async def aiter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over `(task_id, meta)` of a `ResultSet`, as results arrive.

        Mirrors `celery.backends.base.SyncBackendMixin.iter_native`.
        """
        metas = iterate(
            self,
            result,
            timeout=timeout,
            interval=interval,
            no_ack=no_ack,
            on_message=on_message,
            on_interval=on_interval,
        )
        async with aclosing(metas):  # type: ignore[type-var]
            async for pair in metas:
                yield pair

    async def await_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        callback: Callable[[str, Any], object] | None = None,
        propagate: bool = True,
    ) -> Any:
        """Await a result and return its value, or raise what its task raised.

        Mirrors `celery.backends.base.SyncBackendMixin.wait_for_pending`. No thread is
        held.
        """
        return await wait_for_result(
            result,
            backend=self,
            timeout=timeout,
            interval=interval,
            on_interval=on_interval,
            on_message=on_message,
            callback=callback,
            propagate=propagate,
            no_ack=no_ack,
        )

    async def await_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> dict[str, Any]:
        """Await the meta of a task, once it is ready.

        Mirrors `celery.backends.base.SyncBackendMixin.wait_for`. No thread is held.

        Raises:
            celery.exceptions.TimeoutError: it was not ready in time.
        """
        if not is_patient(self):
            wait = partial(
                self.wait_for,  # type: ignore[attr-defined]
                task_id,
                timeout=timeout,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
            )
            waited: dict[str, Any] = await talk(backend_object_route(self), wait)
            return waited
        self._ensure_not_eager()  # type: ignore[attr-defined]
        with watching(
            self, {task_id}, timeout=timeout, interval=interval, on_interval=on_interval
        ) as watch:
            try:
                found: dict[str, Any] = (await watch.next())[1]
            except TimeoutError:
                raise timed_out() from None
        return found
