"""Twins for `celery.backends.base.Backend`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..._twin import leaf
from ._route import backend_object_route, sending_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("BackendMixin",)

_OMITTED: Any = object()


class BackendMixin:
    """Awaitable methods of every result backend.

    Each runs the backend's own sync method, so overrides count: natively where the
    backend's URL has a driver, else in a thread that has the backend to itself.
    """

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    def _bridge_sending_route(self) -> Route:
        return sending_route(self)

    @leaf
    async def amark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Await the storage of the state STARTED.

        Mirrors `celery.backends.base.Backend.mark_as_started`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def amark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = "SUCCESS",
    ) -> None:
        """Await the storage of a value; a chord's last part sends its body.

        Mirrors `celery.backends.base.Backend.mark_as_done`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def amark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = "FAILURE",
    ) -> None:
        """Await the storage of an error and what follows from it.

        Mirrors `celery.backends.base.Backend.mark_as_failure`. Chords, chains and error
        callbacks learn of it.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def amark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = "REVOKED",
    ) -> None:
        """Await the storage of the state REVOKED.

        Mirrors `celery.backends.base.Backend.mark_as_revoked`.
        """
        ...

    @leaf
    async def amark_as_retry(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        state: str = "RETRY",
    ) -> Any:
        """Await the storage of the state RETRY.

        Mirrors `celery.backends.base.Backend.mark_as_retry`.
        """
        ...

    @leaf
    async def astore_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Await the storage of a state and its value.

        Mirrors `celery.backends.base.Backend.store_result`.
        """
        ...

    @leaf
    async def aforget(self, task_id: str) -> None:
        """Await the removal of a result.

        Mirrors `celery.backends.base.Backend.forget`.
        """
        ...

    @leaf
    async def aget_state(self, task_id: str) -> str:
        """Await the state of a task.

        Mirrors `celery.backends.base.Backend.get_state`.
        """
        ...

    @leaf
    async def aget_traceback(self, task_id: str) -> str | None:
        """Await the traceback of a failed task.

        Mirrors `celery.backends.base.Backend.get_traceback`.
        """
        ...

    @leaf
    async def aget_result(self, task_id: str) -> Any:
        """Await what a task has returned, raised, or stored so far.

        Mirrors `celery.backends.base.Backend.get_result`.
        """
        ...

    @leaf
    async def aget_children(self, task_id: str) -> list[Any] | None:
        """Await the results of the tasks that a task has sent.

        Mirrors `celery.backends.base.Backend.get_children`.
        """
        ...

    @leaf
    async def aget_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Await everything that is stored about a task.

        Mirrors `celery.backends.base.Backend.get_task_meta`.
        """
        ...

    @leaf
    async def areload_task_result(self, task_id: str) -> None:
        """Await a fresh read of a task into the backend's cache.

        Mirrors `celery.backends.base.Backend.reload_task_result`.
        """
        ...

    @leaf
    async def atask_result_exists(self, task_id: str) -> bool:
        """Await whether anything is stored about a task (Celery 5.7).

        Mirrors `celery.backends.base.Backend.task_result_exists`.
        """
        ...

    @leaf
    async def areload_group_result(self, group_id: str) -> None:
        """Await a fresh read of a group into the backend's cache.

        Mirrors `celery.backends.base.Backend.reload_group_result`.
        """
        ...

    @leaf
    async def aget_group_meta(
        self, group_id: str, cache: bool = True
    ) -> dict[str, Any] | None:
        """Await everything that is stored about a group.

        Mirrors `celery.backends.base.Backend.get_group_meta`.
        """
        ...

    @leaf
    async def arestore_group(self, group_id: str, cache: bool = True) -> Any:
        """Await the `GroupResult` of a stored group, or None.

        Mirrors `celery.backends.base.Backend.restore_group`.
        """
        ...

    @leaf
    async def asave_group(self, group_id: str, result: Any) -> Any:
        """Await the storage of a group.

        Mirrors `celery.backends.base.Backend.save_group`.
        """
        ...

    @leaf
    async def adelete_group(self, group_id: str) -> Any:
        """Await the removal of a stored group.

        Mirrors `celery.backends.base.Backend.delete_group`.
        """
        ...

    @leaf
    async def acleanup(self) -> None:
        """Await the removal of results that have expired.

        Mirrors `celery.backends.base.Backend.cleanup`.
        """
        ...

    @leaf
    async def aprocess_cleanup(self) -> None:
        """Await what a worker process does with its backend at its end.

        Mirrors `celery.backends.base.Backend.process_cleanup`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def aon_task_call(self, producer: Any, task_id: str) -> Any:
        """Await the preparations for the result of a task that is being sent.

        Mirrors `celery.backends.base.Backend.on_task_call`.
        """
        ...

    @leaf
    async def aadd_to_chord(self, chord_id: str, result: Any) -> Any:
        """Await the enlargement of a chord by one task.

        Mirrors `celery.backends.base.Backend.add_to_chord`.
        """
        ...

    @leaf(route="_bridge_sending_route", unbounded=True)
    async def aon_chord_part_return(
        self, request: Any, state: str, result: Any, **kwargs: Any
    ) -> Any:
        """Await the accounting for a finished task of a chord's header.

        Mirrors `celery.backends.base.Backend.on_chord_part_return`. The last one sends
        the body.
        """
        ...

    @leaf
    async def aset_chord_size(self, group_id: str, chord_size: int) -> Any:
        """Await the storage of the number of a chord's header tasks.

        Mirrors `celery.backends.base.Backend.set_chord_size`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def afallback_chord_unlock(
        self, header_result: Any, body: Any, countdown: float = 1, **kwargs: Any
    ) -> None:
        """Await the sending of the task that watches a chord.

        Mirrors `celery.backends.base.Backend.fallback_chord_unlock`.
        """
        ...

    @leaf(route="_bridge_sending_route")
    async def aapply_chord(
        self, header_result_args: Any, body: Any, **kwargs: Any
    ) -> Any:
        """Await the preparations for a chord.

        Mirrors `celery.backends.base.Backend.apply_chord`.
        """
        ...

    @leaf
    async def aon_backend_retryable_error(self, exc: BaseException) -> Any:
        """Await what happens before a failed operation is tried again (Celery 5.7).

        Mirrors `celery.backends.base.Backend.on_backend_retryable_error`.
        """
        ...

    async def achord_error_from_stack(
        self, callback: Any, exc: BaseException | None = None
    ) -> Any:
        """Await the failure of a chord's body, after an error in its header.

        Mirrors `celery.backends.base.Backend.chord_error_from_stack`. The exception
        that is being handled where this is awaited counts as the one on the stack.
        """
        from ....core.dispatch import perform

        return await perform(
            sending_route(self),
            _raised(
                lambda: self.chord_error_from_stack(  # type: ignore[attr-defined]
                    callback, exc=exc
                )
            ),
        )

    async def afail_from_current_stack(
        self, task_id: str, exc: BaseException | None = None
    ) -> Any:
        """Await the storage of the exception that is being handled as a failure.

        Mirrors `celery.backends.base.Backend.fail_from_current_stack`, which clears
        the frames of the traceback; those of a coroutine that is suspended here
        would be closed by that, so they are left alone.
        """
        from billiard.einfo import ExceptionInfo

        kind, current, traceback = sys.exc_info()
        error: Any = current if exc is None else exc
        where: Any = (kind, error, traceback)
        info = ExceptionInfo(where)
        await self.amark_as_failure(task_id, error, info.traceback)
        return info


def _raised(fn: Any) -> Any:
    """Call `fn` where the exception that is being handled here is handled as well."""
    error = sys.exc_info()[1]
    if error is None:
        return fn

    def handling() -> Any:
        traceback = error.__traceback__
        try:
            # Without the frames of the coroutines that wait for us: upstream clears
            # what it finds.
            raise error.with_traceback(None)
        except BaseException:
            return fn()
        finally:
            error.__traceback__ = traceback

    return handling
