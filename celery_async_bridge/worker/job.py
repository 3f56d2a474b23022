"""One call that a worker has handed to the asyncio pool."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import apply_target
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger

from ..core.carry import capture
from ..core.trampoline import spawn
from ..mixins.celery._stacks import isolated
from ..mixins.celery.app._body import guard
from .limits import Limited
from .scopes import scoped

if TYPE_CHECKING:
    from ..core.lane import Lane
    from .pool import TaskPool

__all__ = ("Job",)

_logger = get_logger("celery.pool")


class _Ended(Exception):
    """The job was cancelled: upstream must not take that for an outcome."""


class Job:
    """A call with its callbacks; what `apply_async` returns.

    Arguments:
        pool: the pool.
        target: upstream's tracer, or any function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        lane: the threads that it runs in; None: on the loop, in a trampoline.
        options: the callbacks and time limits of `BasePool.on_apply`.
    """

    def __init__(
        self,
        pool: TaskPool,
        target: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        lane: Lane | None,
        options: dict[str, Any],
    ) -> None:
        self._pool = pool
        self._call = partial(target, *args, **kwargs)
        self._lane = lane
        self._options = options
        self._limited = Limited(f"{args[0]}[{args[1]}]" if len(args) > 1 else "")
        self._dropped = False
        self.task: asyncio.Task[None] | None = None

    def terminate(self, signal: Any = None) -> None:
        """End the job (from any thread); a sync body cannot be interrupted."""
        self._pool.on_loop(self.drop)

    def drop(self) -> None:
        """End the job (on the loop)."""
        self._dropped = True
        # It may be another task than ours: one that a thread has started.
        self._limited.end()
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Execute the call, and tell who asked for it."""
        if self._dropped:
            self._announce()
            return
        timers = self._timers()
        try:
            with isolated(
                fresh=True,
                app=self._pool.app,
                join_blocks=self._pool.task_join_will_block,
                host=asyncio.get_running_loop(),
            ):
                guard.set(self._limited.guard)
                async with scoped():
                    if self._lane is None:
                        await spawn(self._apply)
                    else:
                        await self._apply_in_thread(self._lane)
        except _Ended:
            pass
        except asyncio.CancelledError:
            if not self._dropped:
                raise
        finally:
            for timer in timers:
                timer.cancel()

    def _announce(self) -> None:
        # Terminated before its turn: upstream revokes it when it hears of its start.
        accept = self._options.get("accept_callback")
        if accept is not None:
            accept(os.getpid(), monotonic())

    async def _apply_in_thread(self, lane: Lane) -> None:
        context = contextvars.copy_context()
        job = lane.add(partial(context.run, capture(self._apply, lane=True)))
        try:
            await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandon()
            raise

    def _apply(self) -> None:
        options = self._options
        try:
            apply_target(
                self._traced,
                (),
                None,
                self._succeeded,
                options.get("accept_callback"),
                os.getpid(),
            )
        except _Ended:
            raise
        except Exception:
            # As from a process: the request decides what becomes of its message.
            self._failed(ExceptionInfo())

    def _succeeded(self, outcome: Any) -> None:
        if isinstance(outcome, ExceptionInfo):
            # `apply_target` has no other way to say that a `SystemExit` got out.
            self._failed(outcome)
            return
        callback = self._options.get("callback")
        if callback is not None:
            callback(outcome)

    def _failed(self, einfo: ExceptionInfo) -> None:
        callback = self._options.get("error_callback")
        if callback is None:
            exc = einfo.exception
            _logger.error("Pool callback raised exception: %r", exc, exc_info=exc)
        else:
            callback(einfo)

    def _traced(self) -> Any:
        try:
            outcome = self._call()
        except asyncio.CancelledError:
            raise _Ended from None
        if self._dropped:
            # A sync body that went on after its end had been announced.
            raise _Ended
        return outcome

    def _timers(self) -> list[asyncio.TimerHandle]:
        later = asyncio.get_running_loop().call_later
        soft, hard = self._options.get("soft_timeout"), self._options.get("timeout")
        timers = []
        if soft:
            timers.append(later(soft, self._expire_soft, soft))
        if hard:
            timers.append(later(hard, self._expire_hard, hard))
        return timers

    def _expire_soft(self, seconds: float) -> None:
        self._tell(True, seconds)
        self._limited.raises(SoftTimeLimitExceeded(seconds))

    def _expire_hard(self, seconds: float) -> None:
        self._tell(False, seconds)
        self.drop()

    def _tell(self, soft: bool, seconds: float) -> None:
        announce = self._options.get("timeout_callback")
        if announce is not None:
            # It may store the failure: where the tracer of this job may run.
            self._pool.aside(partial(announce, soft, seconds), self._lane)
