"""The bridge for the life of an ASGI server."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from logging import getLogger
from typing import TYPE_CHECKING, Any

from ..lifespan import lifespan as bridge_lifespan

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ("LifespanMiddleware",)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_logger = getLogger(__name__)

#: Seconds that an application gets to return after its last answer.
_UNWIND = 1.0


class LifespanMiddleware:
    """An ASGI application that closes the bridge's connections when its server stops.

    It answers the `lifespan` events of the server, also for applications that refuse
    them (Django's); one that takes them gets them, inside of ours. Everything else goes
    to the application as it is.

    Arguments:
        app: the ASGI application.
        lifespan: makes the context that is open while the server runs, given the
            application: `celery_async_bridge.lifespan`, or one of your own around it.

    Raises:
        Exception: what entering or leaving the context has raised, or the application
            at its end; the server has been told that the start, or the stop, failed.
    """

    def __init__(
        self,
        app: Application,
        *,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] = bridge_lifespan,
    ) -> None:
        self.app = app
        self._lifespan = lifespan

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        await receive()  # "lifespan.startup"
        inner = _Inner(self.app, scope)
        step = "startup"
        try:
            async with self._lifespan(self.app):
                answer = await inner.ask(step)
                if not answer["type"].endswith(".failed"):
                    await send(answer)
                    step = "shutdown"
                    await receive()  # "lifespan.shutdown"
                    answer = await inner.ask(step)
        except Exception:
            message = traceback.format_exc()
            await send({"type": f"lifespan.{step}.failed", "message": message})
            raise
        finally:
            await inner.end()
        await send(answer)


class _Inner:
    """The lifespan of the application itself, if it has one.

    Arguments:
        app: the application.
        scope: what the server has given.
    """

    def __init__(self, app: Application, scope: Message) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._run = asyncio.ensure_future(self._serve(app, scope))
        self._answered = ""

    async def _serve(self, app: Application, scope: Message) -> None:
        await app(scope, self._inbox.get, self._outbox.put)

    async def ask(self, step: str) -> Message:
        """Await the application's answer to an event; ours where it gives none.

        Raises:
            Exception: what the application has raised after its start.
        """
        self._inbox.put_nowait({"type": f"lifespan.{step}"})
        answer = asyncio.ensure_future(self._outbox.get())
        try:
            await asyncio.wait({answer, self._run}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not self._outbox.empty():
                # It has answered and ended in one turn of the loop.
                await answer
            if answer.done():
                self._answered = step
                return answer.result()
        finally:
            answer.cancel()
        self._look(step)
        return {"type": f"lifespan.{step}.complete"}

    def _look(self, step: str) -> None:
        error = self._run.exception()
        if error is None:
            return
        if self._answered:
            raise error
        if step == "startup":
            # As servers do: the specification takes this for "not supported".
            _logger.debug("%r has no lifespan: %s", self._run, error)

    async def end(self) -> None:
        """Await the end of the application's part."""
        if self._answered == "shutdown":
            # It has said that it is done; what it does yet is its own.
            await asyncio.wait({self._run}, timeout=_UNWIND)
        self._run.cancel()
        await asyncio.wait({self._run})
        if not self._run.cancelled():
            self._run.exception()  # known, or of no use any more
