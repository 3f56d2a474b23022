"""The rows of the table: which ways to wait there are, and what each one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .case import Case
    from .measure import Traveller
    from .scenario import Scenario

__all__ = ("ROWS", "Row")


@dataclass(frozen=True)
class Row:
    """One way to wait.

    Attributes:
        name: what the command line calls it.
        label: what the table calls it.
        where: module and function.
        needs: modules that must be importable.
        most: how many may wait at once.
        peer: whether it is another task queue, which has a worker of its own.
    """

    name: str
    label: str
    where: str
    needs: tuple[str, ...]
    most: int = 10_000
    peer: bool = False

    @property
    def make(self) -> Callable[[Case], AbstractAsyncContextManager[Traveller]]:
        """Open the row on the running loop."""
        module, _, function = self.where.partition(":")
        found = getattr(import_module(f".{module}", __package__), function)
        return found  # type: ignore[no-any-return]

    def fits(self, load: Scenario) -> bool:
        """Whether the row says something about a load."""
        return load.waiters <= self.most and (load.server == "own" or not self.peer)


_OURS = ("celery", "celery_async_bridge", "redis")
#: More threads than this a process should not have.
_THREADS = 1000

#: In the order of the table.
ROWS = {
    row.name: row
    for row in (
        Row("ours", "adelay, aget", "rows_celery:ours", _OURS),
        Row(
            "sync",
            "delay, get, in threads",
            "rows_celery:sync",
            ("celery", "redis"),
            most=_THREADS,
        ),
        Row(
            "aio-celery",
            "aio-celery, over RabbitMQ",
            "rows_peers:aio_celery",
            ("aio_celery",),
            peer=True,
        ),
        Row(
            "taskiq",
            "taskiq, list",
            "rows_peers:taskiq",
            ("taskiq", "taskiq_redis"),
            peer=True,
        ),
        Row("saq", "saq", "rows_peers:saq", ("saq",), peer=True),
    )
}
