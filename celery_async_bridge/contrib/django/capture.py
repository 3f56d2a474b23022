"""What async tests want to know about transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.test import TestCase

from ...core.offload import offload
from ...core.route import Route

__all__ = ("async_on_commit_capture",)

_DJANGO = Route(endpoints=(), sensitive=True)


@asynccontextmanager
async def async_on_commit_capture(
    using: str = DEFAULT_DB_ALIAS, execute: bool = False
) -> AsyncIterator[list[Callable[[], Any]]]:
    """Collect the callbacks of `on_commit` of an async test, in the right thread.

    Mirrors `django.test.TestCase.captureOnCommitCallbacks`, which looks at the
    connection of the thread that calls it: in a coroutine that is the wrong one.

    Arguments:
        using: the database.
        execute: call them at the end of the block, as the commit would.

    Raises:
        Exception: what a callback has raised, if `execute`.
    """
    manager = TestCase.captureOnCommitCallbacks(using=using, execute=execute)
    found = await offload(_DJANGO, manager.__enter__)
    try:
        yield found
    except BaseException as exc:
        leave = partial(manager.__exit__, type(exc), exc, exc.__traceback__)
        if not await offload(_DJANGO, leave):
            raise
    else:
        await offload(_DJANGO, partial(manager.__exit__, None, None, None))
