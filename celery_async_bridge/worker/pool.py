"""A Celery execution pool on one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.concurrency.base import BasePool
from celery.utils.log import get_logger
from kombu.serialization import prepare_accept_content

from ..core.dispatch import is_native
from ..core.lane import Lane, lane_for
from ..core.loops import aclose_loop
from ..core.trampoline import spawn
from ..mixins.celery._route import send_route
from ..mixins.celery._settings import setting
from ..mixins.celery.app._body import ensure_body, is_async_task
from .job import Job
from .timer import Timer

__all__ = ("TaskPool",)

_logger = get_logger("celery.pool")

#: Seconds that cancelled bodies get to unwind.
_UNWIND = 1.0


class TaskPool(BasePool):
    """Executes async tasks as coroutines of one loop, and sync tasks in threads.

    `limit` tasks run at once. Upstream's tracer does the work: on the loop, in a
    trampoline, where broker and result backend have native drivers, else in a thread
    that hands the body to the loop.
    """

    Timer = Timer
    body_can_be_buffer = True
    signal_safe = False

    #: The loop to run on; None: one of its own, in a thread.
    host: asyncio.AbstractEventLoop | None = None
    #: Seconds that running tasks get to finish when the pool stops; None: for ever.
    grace: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._count = threading.Condition()
        self._handed = 0
        self._own: threading.Thread | None = None

    def on_start(self) -> None:
        """Find the loop and prepare the tasks."""
        if self.host is None:
            self._start_loop()
        self._inline = is_native(send_route(self.app))
        for task in list(self.app.tasks.values()):
            ensure_body(task)
        threads = min(self.limit, setting(self.app, "async_threads"))
        key = id(self.app)
        self._lane = lane_for(("task", key), "task", threads)
        self._hosts = lane_for(("host", key), "host", self.limit)
        self._loc = [
            self.app._tasks,
            prepare_accept_content(self.app.conf.accept_content),
            (self.options.get("initargs") or (None, None))[1],
        ]

    def _start_loop(self) -> None:
        loop = self.host = asyncio.new_event_loop()
        self._own = threading.Thread(
            target=loop.run_forever, name="celery-async-loop", daemon=True
        )
        self._own.start()

    def on_apply(  # type: ignore[override]  # the stubs know no result
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Job:
        """Hand a call to the loop (from any thread)."""
        args, kwargs = args or (), dict(kwargs or {})
        task = self._task_of(target, args)
        lane: Lane | None = self._lane
        if task is not None:
            self._bind(target, task, kwargs)
            if is_async_task(task):
                lane = None if self._inline else self._hosts
        job = Job(self, target, args, kwargs, lane, options)
        with self._count:
            self._handed += 1
        self.on_loop(self._enqueue, job)
        return job

    def _task_of(self, target: Callable[..., Any], args: Any) -> Any:
        if getattr(target, "__module__", None) != "celery.app.trace" or not args:
            return None
        return self.app.tasks.get(args[0])

    def _bind(self, target: Any, task: Any, kwargs: dict[str, Any]) -> None:
        # Without these the tracer would use the app of the thread, or of the worker
        # that was set up last in this process.
        if target.__name__ == "fast_trace_task":
            kwargs.setdefault("_loc", self._loc)
        else:
            kwargs.setdefault("app", self.app)
        if ensure_body(task):  # registered after the start
            from celery.app import trace

            task.__trace__ = trace.build_tracer(
                task.name, task, self.app.loader, self._loc[2], app=self.app
            )

    def on_loop(self, fn: Callable[..., Any], *args: Any) -> None:
        """Call `fn` on the loop (from any thread)."""
        assert self.host is not None  # started
        self.host.call_soon_threadsafe(fn, *args)

    def aside(self, fn: Callable[[], Any], lane: Lane | None) -> None:
        """Run sync code of a job beside it (on the loop)."""
        if lane is not None:
            lane.add(fn)
            return
        helper = asyncio.ensure_future(spawn(fn))
        helper.add_done_callback(_report)

    def _enqueue(self, job: Job) -> None:
        self._waiting.append(job)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.limit:
            job = self._waiting.popleft()
            self._running.add(job)
            job.task = asyncio.ensure_future(job.run())
            job.task.add_done_callback(partial(self._done, job))

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        self._running.discard(job)
        job.task = None
        _report(task)
        with self._count:
            self._handed -= 1
            self._count.notify_all()
        self._fill()

    def _join(self, seconds: float | None) -> bool:
        with self._count:
            return self._count.wait_for(lambda: not self._handed, seconds)

    def _drop(self) -> None:
        with self._count:
            self._handed -= len(self._waiting)
            self._count.notify_all()
        self._waiting.clear()
        for job in list(self._running):
            job.drop()

    def on_stop(self) -> None:
        """Wait for what was handed over, at most `grace` seconds; end the rest."""
        if not self._join(self.grace):
            self.on_terminate()
        self._end_loop()

    def on_terminate(self) -> None:
        """End what runs; sync bodies go on in their threads."""
        self.on_loop(self._drop)
        self._join(_UNWIND)

    def terminate(self) -> None:
        """End the pool without waiting for tasks."""
        super().terminate()
        self._end_loop()

    def _end_loop(self) -> None:
        loop, own = self.host, self._own
        if own is None or loop is None:
            return
        closing = asyncio.run_coroutine_threadsafe(aclose_loop(), loop)
        closing.result(_UNWIND)
        loop.call_soon_threadsafe(loop.stop)
        own.join(_UNWIND)
        if not own.is_alive():
            loop.close()
        self.host = self._own = None

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Do nothing: all jobs share a process; `Job.terminate` ends one."""

    def grow(self, n: int = 1) -> None:
        """Run `n` more tasks at once."""
        self.limit += n
        self.on_loop(self._fill)

    def shrink(self, n: int = 1) -> None:
        """Run `n` tasks less at once, but one."""
        self.limit = max(self.limit - n, 1)

    def _get_info(self) -> dict[str, Any]:
        base: Any = super()
        info: dict[str, Any] = base._get_info()
        info.update(
            {
                "max-concurrency": self.limit,
                "running": len(self._running),
                "waiting": len(self._waiting),
                "threads": self._lane.status()["threads"],
                "tracer": "loop" if self._inline else "thread",
            }
        )
        return info


def _report(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _logger.error("Pool job crashed", exc_info=task.exception())
