"""A backend for `django.tasks` that enqueues with Celery."""

from __future__ import annotations

from typing import Any

from celery import uuid
from celery._state import get_current_app
from celery.result import EagerResult
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.module_loading import import_string

try:
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import (
        DEFAULT_TASK_QUEUE_NAME,
        TASK_MAX_PRIORITY,
        TASK_MIN_PRIORITY,
        Task,
        TaskResult,
    )
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued
except ImportError as exc:
    raise ImproperlyConfigured(
        "CeleryTaskBackend is for django.tasks: it needs Django 6.0 or newer"
    ) from exc

from ...install import install
from ...mixins.celery._route import backend_endpoint, broker_endpoint
from .records import STORED, Record, new_record, now, record_id, result_of, started
from .runner import announce, register, runner_for

__all__ = ("CeleryTaskBackend",)

#: Kombu's Redis transport takes the smallest number first, all others the largest.
_SMALLEST_FIRST = frozenset({"redis", "rediss", "redis+socket", "sentinel", "valkey"})
#: The priorities that brokers have unless `task_queue_max_priority` says otherwise.
_HIGHEST = 9
#: Backends whose results only the process that has sent the task can read.
_PRIVATE = frozenset({"rpc"})
#: What the execution of a task changes in its result.
_OUTCOME = (
    "status",
    "started_at",
    "finished_at",
    "last_attempted_at",
    "errors",
    "worker_ids",
    "_return_value",
)


class CeleryTaskBackend(BaseTaskBackend):
    """Enqueues tasks of `django.tasks` with Celery; its workers execute them.

    `aenqueue` and `aget_result` are native where Celery's broker and result backend
    have drivers, else they run in threads. Coroutine functions run on the event loop of
    `celery worker -P asyncio`, and through `async_to_sync` in other pools. Nothing
    waits for a transaction: `transaction.on_commit` is the caller's to use.

    Settings of an alias in `TASKS`:

    * `QUEUES`: as Django has it. The queue `default` is Celery's default queue, or what
      its routes say of `celery_async_bridge.django.run` and `...run_async`; others are
      queues of Celery by the same name.
    * `OPTIONS["app"]`: the dotted path of the Celery app; by default the current one.
    * `OPTIONS["publish"]`: a mapping of further options of Celery's `apply_async`.

    Results can be got where Celery has a result backend that other processes can read;
    for each task that is one more entry there. They last as long as `result_expires`
    says; after that they do not exist.

    Raises:
        ImproperlyConfigured: an option is not known, or Django is older than 6.0.
    """

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        unknown = sorted(self.options.keys() - {"app", "publish"})
        if unknown:
            raise ImproperlyConfigured(
                f"TASKS[{alias!r}]: unknown OPTIONS {', '.join(unknown)}; there are "
                "'app' and 'publish'"
            )
        install()
        register()

    @property
    def app(self) -> Any:
        """The Celery app."""
        path = self.options.get("app")
        return get_current_app() if path is None else import_string(path)

    @property
    def supports_get_result(self) -> bool:
        """Whether Celery has a result backend that other processes can read."""
        conf, endpoint = self.app.conf, backend_endpoint(self.app)
        if conf.task_always_eager and not conf.task_store_eager_result:
            return False
        return endpoint is not None and endpoint.scheme not in _PRIVATE

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Send a task, blocking.

        Raises:
            InvalidTask: this backend cannot execute it.
            TypeError: the arguments are not JSON.
            OperationalError: the broker refused; nothing is left behind.
        """
        result, record, options = self._prepared(task, args, kwargs)
        app = self.app
        stores = self.supports_get_result
        entry = record_id(result.id)
        if stores:
            app.backend.store_result(entry, record, STORED)
        try:
            sent = runner_for(app, task.func).apply_async(**options)
        except BaseException:
            if stores:
                app.backend.forget(entry)
            raise
        task_enqueued.send(type(self), task_result=result)
        if isinstance(sent, EagerResult):
            _at_once(result, record, sent)
        return result

    async def aenqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Await the sending of a task. Deadline: the setting `async_publish_timeout`.

        Raises:
            InvalidTask: this backend cannot execute it.
            TypeError: the arguments are not JSON.
            OperationalError: the broker refused; `PublishTimeout` after the deadline.
        """
        result, record, options = self._prepared(task, args, kwargs)
        app = self.app
        stores = self.supports_get_result
        entry = record_id(result.id)
        if stores:
            await app.backend.astore_result(entry, record, STORED)
        try:
            sent = await runner_for(app, task.func).aapply_async(**options)
        except Exception as exc:
            # One that may have left needs its entry.
            if stores and not getattr(exc, "uncertain", False):
                await app.backend.aforget(entry)
            raise
        await announce(task_enqueued, type(self), task_result=result)
        if isinstance(sent, EagerResult):
            _at_once(result, record, sent)
        return result

    def _prepared(
        self, task: Task, args: Any, kwargs: Any
    ) -> tuple[TaskResult, Record, dict[str, Any]]:
        self.validate_task(task)
        record = new_record(task, args, kwargs)
        result = result_of(uuid(), record, {"status": "PENDING"})
        object.__setattr__(result, "task", task)
        # As Django has made them JSON, or refused to.
        record.update(args=result.args, kwargs=result.kwargs)
        options: dict[str, Any] = {
            "kwargs": {"record": record},
            "task_id": result.id,
            "shadow": record["path"],
            "argsrepr": repr(tuple(result.args)),
            "kwargsrepr": repr(result.kwargs),
            "priority": self._priority(task.priority),
        }
        if task.run_after is not None:
            moment = task.run_after
            if timezone.is_naive(moment):
                moment = timezone.make_aware(moment)
            options["eta"] = moment
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
            options["queue"] = task.queue_name
        return result, record, {**options, **self.options.get("publish", {})}

    def _priority(self, priority: int) -> int:
        highest = self.app.conf.task_queue_max_priority or _HIGHEST
        span = TASK_MAX_PRIORITY - TASK_MIN_PRIORITY
        scaled = (priority - TASK_MIN_PRIORITY) * highest // span
        if broker_endpoint(self.app).scheme in _SMALLEST_FIRST:
            return int(highest - scaled)
        return int(scaled)

    def get_result(self, result_id: str) -> TaskResult:
        """Return the result of a task, blocking.

        Raises:
            TaskResultDoesNotExist: there is none by that id (any more).
            NotImplementedError: Celery has no result backend that could be asked.
        """
        self._must_store()
        backend = self.app.backend
        # In this order: what is final in Celery's entry is known in the second one.
        meta = backend.get_task_meta(result_id)
        found = backend.get_task_meta(record_id(result_id))
        return self._result(result_id, found, meta)

    async def aget_result(self, result_id: str) -> TaskResult:
        """Await the result of a task.

        Raises:
            TaskResultDoesNotExist: there is none by that id (any more).
            NotImplementedError: Celery has no result backend that could be asked.
        """
        self._must_store()
        backend = self.app.backend
        meta = await backend.aget_task_meta(result_id)
        found = await backend.aget_task_meta(record_id(result_id))
        return self._result(result_id, found, meta)

    def _must_store(self) -> None:
        if not self.supports_get_result:
            raise NotImplementedError(
                "results need a `result_backend` of Celery that other processes can "
                "read (not rpc://), and `task_store_eager_result` in eager mode"
            )

    def _result(self, task_id: str, found: Any, meta: Any) -> TaskResult:
        if found["status"] != STORED:
            raise TaskResultDoesNotExist(task_id)
        return result_of(task_id, found["result"], meta)


def _at_once(result: TaskResult, record: Record, sent: EagerResult[Any]) -> None:
    """Note the outcome of a task that Celery has executed at once (eager mode)."""
    meta = {"status": sent.state, "result": sent.result, "date_done": now()}
    meta["traceback"] = sent.traceback
    found = result_of(result.id, started(record, "eager"), meta)
    for name in _OUTCOME:
        object.__setattr__(result, name, getattr(found, name))
