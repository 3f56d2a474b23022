"""Sends that come down to upstream's `send_task`: what stands for their tasks there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .named import Named, named

__all__ = ("Under", "under", "under_of")

#: The attribute of tasks and apps that holds what stands for them.
_SLOT = "_async_bridge_under"
#: What `send_task` takes None for if it is not given.
_UNSET = frozenset(
    {
        "chain",
        "chord",
        "connection",
        "countdown",
        "eta",
        "group_id",
        "group_index",
        "link",
        "link_error",
        "parent_id",
        "producer",
        "publisher",
        "reply_to",
        "root_id",
        "route_name",
        "router",
        "shadow",
        "task_id",
    }
)
_missing = object()


class Under(Named):
    """A task below the overrides and patches of its `apply_async`.

    They have done their part. Arguments have been checked and options merged; which of
    these are the task's own is found out by comparing.

    Arguments:
        app: the app.
        name: the name that it is sent by.
        task: the task, or None if `send_task` got none.

    Attributes:
        send: upstream's `Celery.send_task`, without what lies on top of it.
    """

    send: Callable[..., Any]

    def __init__(self, app: Any, name: str, task: Any = None) -> None:
        super().__init__(app, name)
        self.task = task

    def apply_async(self, args: Any, kwargs: Any, **options: Any) -> Any:
        """Send it by upstream's `send_task`, whatever lies on top of it."""
        if self.task is not None:
            options = {**self._get_exec_options(), **options}
            options["task_type"] = self.task
            options["result_cls"] = self.task.AsyncResult
        return self.send(self.app, self.name, args, kwargs, **options)

    def AsyncResult(self, task_id: str) -> Any:
        """Return the handle that `send_task` was told to make."""
        owner = self.app if self.task is None else self.task
        return owner.AsyncResult(task_id)

    def _get_exec_options(self) -> dict[str, Any]:
        if self.task is None:
            return super()._get_exec_options()
        found: dict[str, Any] = self.task._get_exec_options()
        return found

    def own(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the options that are the call's own; None if upstream must send."""
        task, theirs = self.task, given.get("result_cls")
        preset = {} if task is None else task._get_exec_options()
        if theirs != (None if task is None else task.AsyncResult) or not (
            preset.keys() <= given.keys()
        ):
            return None
        own = {
            name: value
            for name, value in given.items()
            if value is not preset.get(name, _missing)
            and (value is not None or name not in _UNSET)
        }
        own.pop("task_type", None)
        own.pop("result_cls", None)
        return own


def under(app: Any, name: str, task: Any, send: Callable[..., Any]) -> Under:
    """Return what stands for `task`, or for the tasks of that name if it is None.

    Arguments:
        app: the app.
        name: the name that is sent.
        task: the task, or None.
        send: upstream's `Celery.send_task`.
    """
    found = named(app, name, Under, _SLOT) if task is None else under_of(task)
    if found is None or found.app is not app or found.name != name:
        found = task.__dict__[_SLOT] = Under(app, name, task)
    found.send = send
    return found


def under_of(task: Any) -> Under | None:
    """Return what stands for a task, if it has been sent from below an override."""
    found: Under | None = getattr(task, "__dict__", {}).get(_SLOT)
    return found
