"""Tasks of `django.tasks`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.tasks import task


class OwnError(Exception):
    """A failure with more to say."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


@task
def add(x: int, y: int = 0) -> int:
    return x + y


@task
def fail(text: str) -> None:
    raise ValueError(text)


@task
def fail_by_own_error() -> None:
    raise OwnError(7, "no")


@task
def not_json() -> object:
    return object()


@task
async def aadd(x: int, y: int = 0) -> int:
    return x + y


@task
async def afail(text: str) -> None:
    raise ValueError(text)


@task
async def threads() -> list[int]:
    """The thread of the coroutine, and the one of its sync parts."""
    return [threading.get_ident(), await sync_to_async(threading.get_ident)()]


@task(takes_context=True)
def seen(context: Any) -> dict[str, Any]:
    result = context.task_result
    return {"id": result.id, "attempt": context.attempt, "status": result.status}


@task(takes_context=True)
async def aseen(context: Any, word: str) -> list[Any]:
    return [context.task_result.id, context.attempt, word]


def plain(x: int) -> int:
    return x * 2


#: Under another name than its function.
doubled = task(plain)


@task(queue_name="urgent", priority=50)
def urgent() -> str:
    return "done"
