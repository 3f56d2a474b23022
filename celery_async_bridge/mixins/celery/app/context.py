"""What the tasks of an app share while a loop runs: pools, clients, caches."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from ....core.loops import aclose_loop
from .._stacks import host_loop

__all__ = ("ContextMixin",)

Factory = Callable[..., AbstractAsyncContextManager[Any]]
F = TypeVar("F", bound=Factory)

#: By app, what makes its context, and what is open, by loop.
_factories: weakref.WeakKeyDictionary[Any, list[Factory]] = weakref.WeakKeyDictionary()
_open: weakref.WeakKeyDictionary[
    Any, weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Any]]
] = weakref.WeakKeyDictionary()


class ContextMixin:
    """The context of an app: async context managers that its workers enter."""

    def lifespan(self, factory: F) -> F:
        """Register what workers enter before their first task and leave after the last.

        To decorate an `asynccontextmanager` function without arguments, or with one:
        the app. A mapping that it yields becomes part of `context`. Several are entered
        in the order of their registration and left in the reverse one.
        """
        _factories.setdefault(self, []).append(factory)
        return factory

    def define_app_context(self, factory: F) -> F:
        """Register a context manager, as `lifespan` (its name in aio-celery)."""
        return self.lifespan(factory)

    @property
    def context(self) -> dict[str, Any]:
        """What the registered context managers have yielded, on this loop.

        In the thread of a sync task: on the loop of its worker.

        Raises:
            BridgeError: they have not been entered here.
        """
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = host_loop()
        loops = _open.get(self)
        found = None if loop is None or loops is None else loops.get(loop)
        if found is None:
            from ....errors import BridgeError

            raise BridgeError(
                "app.context is there in tasks of `celery worker -P asyncio` and of an "
                "embedded worker; elsewhere, enter `async with app.setup():` first"
            )
        return found

    @asynccontextmanager
    async def setup(self, _: Any = None) -> AsyncIterator[Mapping[str, Any]]:
        """Enter the registered context managers while the block runs.

        Workers do it themselves. In a web server: `FastAPI(lifespan=app.setup)`; there
        it is the end of all, so the bridge's connections of the loop are closed, too,
        after the context managers. Entered again on the same loop, it gives what is
        open.

        Arguments:
            _: what a framework passes to its lifespan.
        """
        try:
            async with _entered(self) as context:
                yield context
        finally:
            if _ is not None:
                await aclose_loop()


@asynccontextmanager
async def _entered(app: Any) -> AsyncIterator[Mapping[str, Any]]:
    loop = asyncio.get_running_loop()
    loops = _open.setdefault(app, weakref.WeakKeyDictionary())
    known = loops.get(loop)
    if known is not None:
        yield known
        return
    context: dict[str, Any] = {}
    loops[loop] = context
    try:
        async with AsyncExitStack() as stack:
            for factory in list(_factories.get(app, ())):
                given = await stack.enter_async_context(_made(factory, app))
                if isinstance(given, Mapping):
                    context.update(given)
            yield context
    finally:
        loops.pop(loop, None)


def _made(factory: Factory, app: Any) -> AbstractAsyncContextManager[Any]:
    takes = bool(inspect.signature(factory).parameters)
    return factory(app) if takes else factory()
