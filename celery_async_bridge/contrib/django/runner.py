"""The Celery tasks that execute tasks of `django.tasks` in a worker."""

from __future__ import annotations

from inspect import iscoroutinefunction
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from celery import Task, _state
from celery.exceptions import Ignore, Reject, Retry
from django.tasks import task_backends
from django.tasks.base import TaskContext, TaskError, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from .records import STORED, Record, record_id, result_of, started

if TYPE_CHECKING:
    from django.dispatch import Signal

__all__ = ("RUN", "RUN_ASYNC", "announce", "register", "runner_for")

#: The names of the two, in every app of the process.
RUN = "celery_async_bridge.django.run"
RUN_ASYNC = "celery_async_bridge.django.run_async"

#: Untyped: the stubs know only half of it.
state: Any = _state
_CONTROL = (Ignore, Reject, Retry)
_PENDING = {"status": "PENDING"}


def runner_for(app: Any, function: Any) -> Any:
    """Return the Celery task of an app that executes a function."""
    name = RUN_ASYNC if iscoroutinefunction(function) else RUN
    if name not in app.tasks:
        _register(app)
    return app.tasks[name]


async def announce(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal of Django, sync receivers in the thread that has its connections.

    Django's own receiver writes to the log; where it is the only one, nothing is waited
    for.
    """
    if len(signal.receivers) > 1:
        await signal.asend(sender, **named)
    else:
        signal.send(sender, **named)


class _Runner(Task):  # type: ignore[type-arg,unused-ignore]
    """What both have in common."""

    backend: Any
    request: Any

    def _begun(self, record: Record) -> Record:
        return started(record, self.request.hostname or "")

    def _result(self, record: Record) -> TaskResult:
        return result_of(self.request.id, record, _PENDING)

    def _arguments(self, result: TaskResult) -> list[Any]:
        first = [TaskContext(task_result=result)] if result.task.takes_context else []
        return [*first, *result.args]

    def _sender(self, result: TaskResult) -> Any:
        return type(task_backends[result.backend])

    def _stores(self) -> bool:
        request = self.request
        wanted = not request.is_eager or self.store_eager_result
        return bool(wanted and not request.ignore_result)


def _end(result: TaskResult, value: Any = None, error: Exception | None = None) -> None:
    change = {"status": TaskResultStatus.SUCCESSFUL, "_return_value": value}
    if error is not None:
        kind = type(error)
        path = f"{kind.__module__}.{kind.__qualname__}"
        trace = "".join(format_exception(error))
        result.errors.append(TaskError(exception_class_path=path, traceback=trace))
        change = {"status": TaskResultStatus.FAILED}
    for name, new in {**change, "finished_at": timezone.now()}.items():
        object.__setattr__(result, name, new)


class _SyncRunner(_Runner):
    """Executes a function in whatever a worker executes sync tasks in."""

    def run(self, record: Record) -> Any:
        record = self._begun(record)
        if self._stores():
            self.backend.store_result(record_id(self.request.id), record, STORED)
        result = self._result(record)
        sender = self._sender(result)
        task_started.send(sender, task_result=result)
        try:
            value = result.task.call(*self._arguments(result), **result.kwargs)
            value = normalize_json(value)
        except _CONTROL:
            raise
        except Exception as exc:
            _end(result, error=exc)
            task_finished.send(sender, task_result=result)
            raise
        _end(result, value)
        task_finished.send(sender, task_result=result)
        return value


class _AsyncRunner(_SyncRunner):
    """Executes a coroutine function: on the loop of a worker that has one.

    In another pool it does what Django's own backends do, `async_to_sync`.
    """

    async def arun(self, record: Record) -> Any:
        record = self._begun(record)
        if self._stores():
            await self.backend.astore_result(record_id(self.request.id), record, STORED)
        result = self._result(record)
        sender = self._sender(result)
        await announce(task_started, sender, task_result=result)
        try:
            value = await result.task.acall(*self._arguments(result), **result.kwargs)
            value = normalize_json(value)
        except _CONTROL:
            raise
        except Exception as exc:
            _end(result, error=exc)
            await announce(task_finished, sender, task_result=result)
            raise
        _end(result, value)
        await announce(task_finished, sender, task_result=result)
        return value


def _register(app: Any) -> None:
    for name, base in ((RUN, _SyncRunner), (RUN_ASYNC, _AsyncRunner)):
        # A class for each app: binding a task changes its class.
        members: dict[str, Any] = {"name": name}
        app.register_task(type(str(base.__name__), (base,), members)())


def register() -> None:
    """Give every app of the process, of now and later, the two tasks; once."""
    if _register not in state._on_app_finalizers:
        state.connect_on_app_finalize(_register)
        for app in state._get_active_apps():
            if app.finalized:
                _register(app)
