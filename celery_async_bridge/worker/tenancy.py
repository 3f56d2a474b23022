"""The context of an app, kept open on the loop of a pool."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from celery.utils.log import get_logger

__all__ = ("Tenancy",)

_logger = get_logger("celery.pool")


class Tenancy:
    """Enters `app.setup()` and leaves it in one task, as cancel scopes demand.

    Arguments:
        app: the Celery app.
        loop: a loop that runs in another thread.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._opened: Future[None] = Future()
        self._closing: asyncio.Event | None = None
        self._stay: Future[None] | None = None

    def begin(self) -> None:
        """Return when the context is open.

        Raises:
            Exception: what entering it has raised.
        """
        self._stay = asyncio.run_coroutine_threadsafe(self._keep(), self._loop)
        self._stay.add_done_callback(self._ended)
        self._opened.result()

    async def _keep(self) -> None:
        self._closing = asyncio.Event()
        async with self._app.setup():
            self._opened.set_result(None)
            await self._closing.wait()

    def _ended(self, stay: Future[None]) -> None:
        if not self._opened.done():
            error = None if stay.cancelled() else stay.exception()
            self._opened.set_exception(error or asyncio.CancelledError())

    def end(self, timeout: float | None) -> None:
        """Return when the context is closed, or after `timeout` seconds."""
        stay, self._stay = self._stay, None
        if stay is None or stay.done() or self._closing is None:
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        try:
            stay.result(timeout)
        except Exception as exc:
            _logger.error("The app's context did not close: %r", exc, exc_info=True)
