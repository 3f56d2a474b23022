"""The rows of the table: which ways to send there are, and what each one needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .case import Case
    from .measure import Sender
    from .scenario import Scenario

__all__ = ("ROWS", "Row")


@dataclass(frozen=True)
class Row:
    """One way to send.

    Attributes:
        name: what the command line calls it.
        label: what the table calls it.
        where: module and function.
        needs: modules that must be importable.
        family: "ours", "celery", "peer" or "reference".
        bulk: whether it sends everything in one call.
        amqp: whether it sends to RabbitMQ.
    """

    name: str
    label: str
    where: str
    needs: tuple[str, ...]
    family: str
    bulk: bool = False
    amqp: bool = False

    @property
    def make(self) -> Callable[[Case], AbstractAsyncContextManager[Sender]]:
        """Open the row on the running loop."""
        module, _, function = self.where.partition(":")
        found = getattr(import_module(f".{module}", __package__), function)
        return found  # type: ignore[no-any-return]

    def fits(self, load: Scenario) -> bool:
        """Whether the row says something about a load."""
        if self.bulk and load.shape != "gather":
            return False
        # The bounds compare these two with sends that have a backend.
        wanted = self.name in {"saq", "streaq-many"} and load.backend
        return load.plain or self.family != "peer" or wanted


_OURS = ("celery", "celery_async_bridge", "redis")
_CELERY = ("celery", "redis")

#: In the order of the table.
ROWS = {
    row.name: row
    for row in (
        Row("limit", "limit of Python", "rows_limit:limit", ("hiredis",), "reference"),
        Row(
            "template",
            "limit of Python, from a template",
            "rows_limit:rendered",
            ("hiredis",),
            "reference",
        ),
        Row("lpush", "bare LPUSH", "rows_limit:lpush_only", ("hiredis",), "reference"),
        Row(
            "lpush-paced",
            "bare LPUSH, at our pace",
            "rows_limit:lpush_paced",
            ("hiredis",),
            "reference",
        ),
        Row("nothing", "nothing", "rows_limit:nothing", (), "reference"),
        Row("ours", "adelay", "rows_celery:native", _OURS, "ours"),
        Row("ours-bulk", "amap_delay", "rows_celery:native_bulk", _OURS, "ours", True),
        Row(
            "trampoline",
            "adelay, overridden apply_async",
            "rows_celery:trampoline",
            _OURS,
            "ours",
        ),
        Row("thread", "adelay, thread tier", "rows_celery:thread", _OURS, "ours"),
        Row("sync", "delay (blocks)", "rows_celery:sync", _CELERY, "celery"),
        Row(
            "sync-to-async",
            "sync_to_async(delay)",
            "rows_celery:sync_in_threads",
            (*_CELERY, "asgiref"),
            "celery",
        ),
        Row(
            "batch",
            "Producer.batch (blocks)",
            "rows_celery:producer_batch",
            _CELERY,
            "celery",
            bulk=True,
        ),
        Row("saq", "saq", "rows_peers:saq", ("saq", "redis"), "peer"),
        Row("streaq", "streaq", "rows_peers:streaq", ("streaq",), "peer"),
        Row(
            "streaq-many",
            "streaq enqueue_many",
            "rows_peers:streaq_many",
            ("streaq",),
            "peer",
            bulk=True,
        ),
        Row("arq", "arq", "rows_peers:arq", ("arq",), "peer"),
        Row(
            "taskiq-list",
            "taskiq, Redis list",
            "rows_peers:taskiq_list",
            ("taskiq_redis",),
            "peer",
        ),
        Row(
            "taskiq-stream",
            "taskiq, Redis stream",
            "rows_peers:taskiq_stream",
            ("taskiq_redis",),
            "peer",
        ),
        Row(
            "taskiq-amqp",
            "taskiq, RabbitMQ",
            "rows_peers:taskiq_amqp",
            ("taskiq_aio_pika",),
            "peer",
            amqp=True,
        ),
        Row(
            "aio-celery",
            "aio-celery, RabbitMQ",
            "rows_peers:aio_celery",
            ("aio_celery",),
            "peer",
            amqp=True,
        ),
    )
}
