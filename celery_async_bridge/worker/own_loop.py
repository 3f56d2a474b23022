"""The event loop of a worker process, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from importlib import import_module
from typing import Any

from celery.exceptions import ImproperlyConfigured

from ..core.loops import aclose_loop
from ..mixins.celery._settings import setting
from .slow import SlowWatch

__all__ = ("OwnLoop",)


class OwnLoop:
    """A loop that runs until `close()`, and a watch over it.

    Arguments:
        app: the Celery app; `async_uvloop` and `async_debug_slow` are its settings.

    Raises:
        ImproperlyConfigured: uvloop is asked for and not installed.
    """

    def __init__(self, app: Any) -> None:
        made = _uvloop if setting(app, "async_uvloop") else asyncio.new_event_loop
        self.loop: asyncio.AbstractEventLoop = made()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="celery-async-loop", daemon=True
        )
        self._thread.start()
        self._watch: SlowWatch | None = None
        slow = setting(app, "async_debug_slow")
        if slow:
            ident = self._thread.ident
            assert ident is not None  # started
            self._watch = SlowWatch(self.loop, ident, slow)
            self._watch.start()

    def unwatch(self) -> None:
        """Warn no more of what holds the loop."""
        if self._watch is not None:
            self._watch.stop()

    def close(self, timeout: float) -> None:
        """Close the bridge's connections and end the loop.

        Arguments:
            timeout: seconds for each of the two.
        """
        closing = asyncio.run_coroutine_threadsafe(_wind_up(), self.loop)
        with suppress(TimeoutError, FutureTimeout):
            closing.result(timeout)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self.loop.close()


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        module = import_module("uvloop")
    except ImportError as exc:
        raise ImproperlyConfigured(
            "async_uvloop is set and uvloop is not installed: "
            'pip install "celery-async-bridge[uvloop]", or unset it'
        ) from exc
    loop: asyncio.AbstractEventLoop = module.new_event_loop()
    return loop


async def _wind_up() -> None:
    await aclose_loop()
    await asyncio.get_running_loop().shutdown_asyncgens()
