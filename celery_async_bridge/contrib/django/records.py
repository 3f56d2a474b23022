"""What a result backend of Celery keeps of a task of `django.tasks`.

Celery's own entry has the outcome. What Django wants to know beside it (the function,
its arguments, when it was enqueued and started, by whom) is in a second entry, under an
id that follows from the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from django.conf import settings
from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.utils import timezone as django_timezone
from django.utils.module_loading import import_string

__all__ = ("STORED", "Record", "new_record", "now", "record_id", "result_of", "started")

#: The state of the second entry; none of Celery's, so that it is never final.
STORED = "DJANGO"

Record = dict[str, Any]


def record_id(task_id: str) -> str:
    """Return the id of the second entry of a task."""
    return f"{task_id}-django"


def now() -> str:
    """Return the time, as it is stored."""
    return datetime.now(timezone.utc).isoformat()


def new_record(task: Task, args: Any, kwargs: Any) -> Record:
    """Describe a task that is about to be enqueued."""
    return {
        "path": task.module_path,
        "args": list(args),
        "kwargs": dict(kwargs),
        "priority": task.priority,
        "queue_name": task.queue_name,
        "run_after": None if task.run_after is None else task.run_after.isoformat(),
        "takes_context": task.takes_context,
        "backend": task.backend,
        "enqueued_at": now(),
        "started_at": None,
        "last_attempted_at": None,
        "worker_ids": [],
    }


def started(record: Record, worker: str) -> Record:
    """Return the record of a task that a worker begins to execute."""
    moment = now()
    return {
        **record,
        "started_at": record["started_at"] or moment,
        "last_attempted_at": moment,
        "worker_ids": [*record["worker_ids"], worker],
    }


def _task(record: Record) -> Task:
    """Find the task; the function stands in its module under its own name."""
    found = import_string(record["path"])
    changes = {name: record[name] for name in ("priority", "queue_name", "backend")}
    changes["run_after"] = _moment(record["run_after"], aware=settings.USE_TZ)
    changes["takes_context"] = record["takes_context"]
    if isinstance(found, Task):
        return replace(found, **changes)
    from django.tasks import task_backends

    task_class: type[Task] = task_backends[record["backend"]].task_class
    return task_class(func=found, **changes)


def _moment(value: Any, *, aware: bool) -> datetime | None:
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if found.tzinfo is None:
        # Celery's times without a zone are UTC, Django's are local.
        found = found.replace(tzinfo=timezone.utc) if aware else found
    elif not aware:
        found = django_timezone.make_naive(found)
    return found


def _status(record: Record, state: str) -> TaskResultStatus:
    if state == "SUCCESS":
        return TaskResultStatus.SUCCESSFUL
    if state in {"FAILURE", "REVOKED"}:
        return TaskResultStatus.FAILED
    running = record["started_at"] is not None and state != "RETRY"
    return TaskResultStatus.RUNNING if running else TaskResultStatus.READY


def _error(meta: Mapping[str, Any]) -> TaskError:
    failure = meta["result"]
    kind = type(failure)
    path = f"{kind.__module__}.{kind.__qualname__}"
    return TaskError(exception_class_path=path, traceback=meta.get("traceback") or "")


def result_of(task_id: str, record: Record, meta: Mapping[str, Any]) -> TaskResult:
    """Make Django's result of the two entries.

    Raises:
        ImportError: the function is not where it was when the task was enqueued.
    """
    status = _status(record, meta["status"])
    aware = settings.USE_TZ
    result = TaskResult(
        task=_task(record),
        id=task_id,
        status=status,
        enqueued_at=_moment(record["enqueued_at"], aware=aware),
        started_at=_moment(record["started_at"], aware=aware),
        finished_at=_moment(meta.get("date_done"), aware=aware),
        last_attempted_at=_moment(record["last_attempted_at"], aware=aware),
        args=record["args"],
        kwargs=record["kwargs"],
        backend=record["backend"],
        errors=[_error(meta)] if status == TaskResultStatus.FAILED else [],
        worker_ids=record["worker_ids"],
    )
    if status == TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", meta["result"])
    return result
