"""Sends by name: what stands for the task that `send_task` has not got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ("Named", "named")

#: Names that one app may have plans for.
_NAMES = 256
_SLOT = "_async_bridge_named"


class Named:
    """A task of which only the name is known, for the length of a send.

    Attributes:
        typing: nobody knows its arguments, so nobody checks them.
    """

    typing = False

    def __init__(self, app: Any, name: str) -> None:
        self.app = app
        self.name = name

    def apply_async(self, args: Any, kwargs: Any, **options: Any) -> Any:
        """Send it as upstream does."""
        return self.app.send_task(self.name, args, kwargs, **options)

    def AsyncResult(self, task_id: str) -> Any:
        """Return the handle that `send_task` returns."""
        return self.app.AsyncResult(task_id)

    def _bridge_send_route(self, given: Mapping[str, Any]) -> Any:
        return self.app._bridge_send_route(given)

    def _get_exec_options(self) -> dict[str, Any]:
        # Upstream adds those of a task that is registered here.
        task = self.app._tasks.get(self.name)
        found = {} if task is None else task._get_exec_options()
        return {name: value for name, value in found.items() if value is not None}


Kind = TypeVar("Kind", bound=Named)


def named(app: Any, name: str, kind: type[Kind], slot: str = _SLOT) -> Kind:
    """Return what stands for the tasks of that name.

    Arguments:
        app: the app.
        name: the name.
        kind: what it is made of.
        slot: the attribute of the app that holds those of this kind.
    """
    known: dict[str, Kind] = app.__dict__.setdefault(slot, {})
    found = known.get(name)
    if found is None:
        if len(known) >= _NAMES:
            known.pop(next(iter(known)), None)
        found = known[name] = kind(app, name)
    return found
