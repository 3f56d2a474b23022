"""What surrounds each task that a worker executes on the event loop's behalf."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import Any

__all__ = ("register_scope", "scoped", "unregister_scope")

#: Makes an async context manager that is entered before the task begins, in its own
#: context, and left when its outcome has been told. It must not raise.
Scope = Callable[[], AbstractAsyncContextManager[Any]]

_scopes: list[Scope] = []


def register_scope(scope: Scope) -> None:
    """Have `scope` surround every task of the workers of this process."""
    if scope not in _scopes:
        _scopes.append(scope)


def unregister_scope(scope: Scope) -> None:
    """Stop surrounding tasks with `scope`."""
    if scope in _scopes:
        _scopes.remove(scope)


def scoped() -> AbstractAsyncContextManager[Any]:
    """Return the context manager for one task."""
    if not _scopes:
        return nullcontext()
    return _Scoped()


class _Scoped(AsyncExitStack):
    """All of them, entered in the order of their registration."""

    async def __aenter__(self) -> _Scoped:
        await super().__aenter__()
        try:
            for scope in _scopes:
                await self.enter_async_context(scope())
        except BaseException:
            await self.aclose()
            raise
        return self
