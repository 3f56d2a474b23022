"""A Celery execution pool on one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import signals
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.utils.log import get_logger
from kombu.serialization import prepare_accept_content

from ..core.dispatch import is_native
from ..core.lane import Lane, lane_for
from ..core.trampoline import spawn
from ..install import DISABLE, install, journal, sew
from ..mixins.celery._receivers import move_in, move_out
from ..mixins.celery._route import send_route
from ..mixins.celery._settings import setting
from ..mixins.celery.app._body import ensure_body, is_async_task
from ..mixins.celery.fixups.django import fixup_seams
from .desk import Desk
from .hub_claims import Claims, claims_for
from .hub_desk import HubDesk
from .job import Job
from .own_loop import OwnLoop
from .tenancy import Tenancy
from .timer import Timer

__all__ = ("TaskPool",)

_logger = get_logger("celery.pool")

#: Seconds that cancelled bodies get to unwind.
_UNWIND = 1.0
#: Seconds that the app's context gets to close.
_CLOSING = 10.0


class TaskPool(BasePool):
    """Executes async tasks as coroutines of one loop, and sync tasks in threads.

    `limit` tasks run at once. Upstream's tracer does the work: on the loop, in a
    trampoline, where broker and result backend have native drivers, else in a thread
    that hands the body to the loop.

    Raises:
        ImproperlyConfigured: an option makes no sense without child processes, or the
            bridge is switched off by `CELERY_ASYNC_BRIDGE=0`.
    """

    Timer = Timer
    body_can_be_buffer = True
    signal_safe = False
    #: Async receivers of worker signals wait for its loop.
    awaits_receivers = True

    #: The loop to run on; None: one of its own, in a thread.
    host: asyncio.AbstractEventLoop | None = None
    #: Seconds that running tasks get to finish when the pool stops; None: for ever.
    grace: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        install()
        if journal() is None:
            raise ImproperlyConfigured(
                f"the asyncio pool needs the bridge, which {DISABLE}=0 switches off"
            )
        sew(fixup_seams())
        _refuse(self.options)
        self._own: OwnLoop | None = None
        self._claims: Claims | None = None

    def on_start(self) -> None:
        """Find the loop and prepare the tasks."""
        if self.host is None:
            self._own = OwnLoop(self.app)
            self.host = self._own.loop
            self._announce()
            self._claims = claims_for(self.app)
        assert self.host is not None
        self._desk = Desk(self.host, self.limit)
        self._tenancy = Tenancy(self.app, self.host)
        self._inline = is_native(send_route(self.app))
        for task in list(self.app.tasks.values()):
            ensure_body(task)
        self._size_lanes()
        self._loc = [
            self.app._tasks,
            prepare_accept_content(self.app.conf.accept_content),
            (self.options.get("initargs") or (None, None))[1],
        ]
        self._tenancy.begin()

    def _size_lanes(self) -> None:
        key = id(self.app)
        threads = max(1, min(self.limit, setting(self.app, "async_threads")))
        self._lane = lane_for(("task", key), "task", threads)
        self._hosts = lane_for(("host", key), "host", max(1, self.limit))

    def _announce(self) -> None:
        # As the solo pool does: this process executes tasks itself.
        assert self.host is not None
        move_in(self.host)
        node = (self.options.get("initargs") or (None, None))[1]
        signals.worker_process_init.send(sender=node)

    def register_with_event_loop(self, hub: Any) -> None:
        """Keep the books in the thread of Kombu's hub, which the worker runs."""
        if self._own is not None and getattr(self._desk, "hub", None) is not hub:
            flush = bool if self._claims is None else self._claims(hub)
            self._desk = HubDesk(self._desk.loop, self.limit, hub, flush)

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
        job = Job(self, target, args, kwargs, lane, self._desk.routed(options))
        self._desk.take(job)
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
        self._desk.on_loop(fn, *args)

    def aside(self, fn: Callable[[], Any], lane: Lane | None) -> None:
        """Run sync code of a job beside it (on the loop)."""
        if isinstance(self._desk, HubDesk):
            fn()  # it only posts
        elif lane is not None:
            lane.add(fn)
        else:
            helper = asyncio.ensure_future(spawn(fn))
            helper.add_done_callback(_report)

    def flush(self) -> None:
        """Forget what has not begun: its connection has ended."""
        self._desk.flush()

    def on_stop(self) -> None:
        """Wait for what was handed over, at most `grace` seconds; end the rest.

        Under the hub of a worker: wait for what has begun, and after a cold shutdown
        only until cancelled bodies have unwound.
        """
        if self.host is None:
            return
        self._desk.flush()
        if not self._desk.settle(_UNWIND if _is_cold() else self.grace):
            self.on_terminate()
        self._end_loop()

    def on_terminate(self) -> None:
        """End what runs; sync bodies go on in their threads."""
        if self.host is not None:
            self._desk.drop()
            self._desk.settle(_UNWIND)

    def terminate(self) -> None:
        """End the pool without waiting for tasks."""
        super().terminate()
        self._end_loop()

    def _end_loop(self) -> None:
        own = self._own
        self._tenancy.end(_UNWIND if _is_cold() else _CLOSING)
        if own is None:
            return
        own.unwatch()
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
        self.host = self._own = None
        move_out(partial(own.close, _UNWIND), wait=not _is_cold())

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Do nothing: all jobs share a process; `Job.terminate` ends one."""

    def grow(self, n: int = 1) -> None:
        """Run `n` more tasks at once."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """Run `n` tasks less at once, but one.

        Raises:
            ValueError: there is only one.
        """
        if self.limit <= 1:
            raise ValueError("the pool runs one task at a time, it cannot shrink")
        self._resize(max(self.limit - n, 1))

    def _resize(self, limit: int) -> None:
        self.limit = limit
        self._size_lanes()
        self._desk.resize(limit)

    def _get_info(self) -> dict[str, Any]:
        base: Any = super()
        info: dict[str, Any] = base._get_info()
        info.update(
            {
                "max-concurrency": self.limit,
                "running": len(self._desk.running),
                "waiting": len(self._desk.waiting),
                "threads": self._lane.status()["threads"],
                "tracer": "loop" if self._inline else "thread",
            }
        )
        return info


def _refuse(options: dict[str, Any]) -> None:
    for name, flag in (
        ("maxtasksperchild", "max-tasks-per-child"),
        ("max_memory_per_child", "max-memory-per-child"),
    ):
        if options.get(name):
            raise ImproperlyConfigured(
                f"--{flag} {options[name]}: the asyncio pool runs in the worker's own "
                f"process and has no child that could be replaced; add `--{flag} 0` to "
                "the command, or use `-P prefork`"
            )


def _is_cold() -> bool:
    from celery.worker import state

    return state.should_terminate is not None and state.should_terminate is not False


def _report(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _logger.error("Pool job crashed", exc_info=task.exception())
