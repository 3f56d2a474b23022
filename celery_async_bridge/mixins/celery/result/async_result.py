"""Twins for `celery.result.AsyncResult`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from ..._twin import leaf
from .._asking import ask, tell
from .._waiting import in_tier, timed_out, watching
from ._getting import wait_for_result
from .properties import ResultPropertiesMixin

__all__ = ("AsyncResultMixin",)

_OMITTED: Any = object()


class AsyncResultMixin(ResultPropertiesMixin):
    """Awaitable methods of `celery.result.AsyncResult`.

    Reads run natively where the result backend has a driver, else in a thread. A wait
    holds no thread: all waits of a loop share one poller per backend, or are woken by
    the native driver.
    """

    id: str
    app: Any
    backend: Any
    parent: Any
    ignored: bool
    _cache: Any

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Any = _OMITTED,
        PROPAGATE_STATES: Any = _OMITTED,
    ) -> Any:
        """Await the task and return its value, or raise what it raised.

        Mirrors `celery.result.AsyncResult.get`, also called `wait` there. Cancelling
        it leaves the task and the result untouched.

        Arguments:
            timeout: seconds to wait; None waits for ever, 0 looks once.
            propagate: raise the task's exception instead of returning it.
            interval: seconds between two looks at a backend that is polled, at most.
            no_ack: accepted as upstream does.
            follow_parents: also raise when a task before this one has failed.
            callback: called as `callback(task_id, value)`, in the thread that reads
                the result.
            on_message: called with each meta that arrives; only for backends that
                push their results.
            on_interval: called on the loop after each interval without a result.
            disable_sync_subtasks: refuse to wait inside a task that blocks a worker.
            EXCEPTION_STATES: accepted as upstream does.
            PROPAGATE_STATES: accepted as upstream does.

        Raises:
            celery.exceptions.TimeoutError: the result did not come in time.
            Exception: what the task raised.
        """
        from celery import result as upstream

        if self.ignored:
            return None
        if disable_sync_subtasks:
            upstream.assert_will_not_block()  # type: ignore[attr-defined]
        follows = bool(follow_parents and propagate and self.parent)
        if follows:
            reraise = self._maybe_reraise_parent_error  # type: ignore[attr-defined]
            await in_tier(self._bridge_route(), reraise, timeout)
        if self._cache:
            kept = partial(
                self.get,  # type: ignore[attr-defined]
                propagate=propagate,
                callback=callback,
                follow_parents=False,
                disable_sync_subtasks=False,
            )
            return await in_tier(self._bridge_route(), kept)
        return await wait_for_result(
            self,
            timeout=timeout,
            interval=interval,
            on_interval=on_interval,
            on_message=on_message,
            callback=callback,
            propagate=propagate,
            parents=follows,
            no_ack=no_ack,
        )

    async def astates(
        self, *, timeout: float | None = None, interval: float = 0.5
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Iterate over the states of the task as `(state, meta)`, until it is ready.

        The first one is the current state; changes that follow each other faster than
        the backend is looked at may be seen as one.

        Arguments:
            timeout: seconds in all.
            interval: seconds between two looks, at most.

        Raises:
            celery.exceptions.TimeoutError: the task was not ready in time.
        """
        backend = self.backend
        meta = self._cache
        if meta:
            yield meta["status"], meta
            return
        with watching(
            backend, {self.id}, timeout=timeout, interval=interval, every=True
        ) as watch:
            while True:
                try:
                    _, meta = await watch.next()
                except TimeoutError:
                    raise timed_out() from None
                if meta["status"] in backend.READY_STATES:
                    break
                yield meta["status"], meta
        keep = partial(self._maybe_set_cache, meta)  # type: ignore[attr-defined]
        await in_tier(self._bridge_route(), keep)
        yield meta["status"], meta

    async def acollect(
        self, intermediate: bool = False, **kwargs: Any
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Iterate over `(result, value)` of this task and of all that it has sent.

        Mirrors `celery.result.AsyncResult.collect`.

        Arguments:
            intermediate: go on where a task is not ready, instead of raising.
            kwargs: for `aget()` of each result.

        Raises:
            IncompleteStream: a task is not ready.
        """
        async for _, node in self.aiterdeps(intermediate=intermediate):
            yield node, await node.aget(**kwargs)

    async def aget_leaf(self) -> Any:
        """Await the value of the last task of the tree that starts here.

        Mirrors `celery.result.AsyncResult.get_leaf`.
        """
        value = None
        async for _, node in self.aiterdeps():
            value = await node.aget()
        return value

    async def aiterdeps(
        self, intermediate: bool = False
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Iterate over `(parent, result)` of this task and of all that it has sent.

        Mirrors `celery.result.AsyncResult.iterdeps`.

        Raises:
            IncompleteStream: a task is not ready and `intermediate` is false.
        """
        from celery.exceptions import IncompleteStream

        stack: deque[tuple[Any, Any]] = deque([(None, self)])
        while stack:
            parent, node = stack.popleft()
            yield parent, node
            if await node.aready():
                children = node.children if _is_set(node) else await node.achildren()
                stack.extend((node, child) for child in children or [])
            elif not intermediate:
                raise IncompleteStream

    @leaf
    async def aexists(self) -> bool:
        """Await whether the backend holds anything about this task.

        Mirrors `celery.result.AsyncResult.exists` (Celery 5.7).
        """
        ...

    @leaf
    async def aready(self) -> bool:
        """Await whether the task has finished.

        Mirrors `celery.result.AsyncResult.ready`.
        """
        ...

    @leaf
    async def asuccessful(self) -> bool:
        """Await whether the task has finished without an error.

        Mirrors `celery.result.AsyncResult.successful`.
        """
        ...

    @leaf
    async def afailed(self) -> bool:
        """Await whether the task has failed.

        Mirrors `celery.result.AsyncResult.failed`.
        """
        ...

    @leaf
    async def amaybe_throw(
        self,
        propagate: bool = True,
        callback: Callable[[str, Any], object] | None = None,
    ) -> Any:
        """Await what is stored now; raise it if the task has failed.

        Mirrors `celery.result.AsyncResult.maybe_throw`.
        """
        ...

    @leaf
    async def amaybe_reraise(
        self,
        propagate: bool = True,
        callback: Callable[[str, Any], object] | None = None,
    ) -> Any:
        """Await what is stored now; raise it if the task has failed.

        Mirrors `celery.result.AsyncResult.maybe_reraise`, the older name of
        `maybe_throw`.
        """
        ...

    @leaf
    async def abuild_graph(
        self, intermediate: bool = False, formatter: Any = None
    ) -> Any:
        """Await the graph of this task and of all that it has sent.

        Mirrors `celery.result.AsyncResult.build_graph`.

        Raises:
            IncompleteStream: a task is not ready and `intermediate` is false.
        """
        ...

    @leaf
    async def athen(
        self,
        callback: Callable[..., object],
        on_error: Callable[..., object] | None = None,
        weak: bool = False,
    ) -> Any:
        """Await the registration of a callback for the task's end.

        Mirrors `celery.result.AsyncResult.then`. The callback runs where somebody
        reads the result: as upstream, nobody does so on its behalf.
        """
        ...

    @leaf
    async def aforget(self) -> None:
        """Await the removal of the result, and of those of the tasks before it.

        Mirrors `celery.result.AsyncResult.forget`.
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
        """Await the broadcast that makes all workers discard this task.

        Mirrors `celery.result.AsyncResult.revoke`.

        Arguments:
            connection: the Kombu connection to use.
            terminate: also end the process that executes the task.
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

    async def arevoke_by_stamped_headers(
        self,
        headers: dict[str, str | list[str]],
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Await the broadcast that makes workers discard tasks with these stamps.

        Mirrors `celery.result.AsyncResult.revoke_by_stamped_headers`.

        Arguments:
            headers: the stamps, all of which must match.
            connection: the Kombu connection to use.
            terminate: also end the processes that execute the tasks.
            signal: the signal for that, "TERM" by default.
            wait: collect the workers' replies.
            timeout: seconds to wait for each of them.
        """
        revoke = partial(
            self.revoke_by_stamped_headers,  # type: ignore[attr-defined]
            headers,
            connection=connection,
            terminate=terminate,
            signal=signal,
            wait=wait,
            timeout=timeout,
        )
        await broadcast(self.app, revoke, wait, connection)


def _is_set(node: Any) -> bool:
    return not hasattr(node, "_cache")


async def broadcast(
    app: Any, send: Callable[[], object], wait: bool, connection: Any
) -> None:
    """Run a remote-control call, as one that waits if replies are collected."""
    await (ask if wait else tell)(app, send, connection)
