"""The way back: sync code in any tier waits for a coroutine of the caller's loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import update_wrapper
from typing import Any

from .conversation import current_conversation
from .trampoline import await_, in_trampoline

__all__ = ("Relay",)


class Relay:
    """Makes callables that may be coroutine functions fit for sync code.

    Made on the loop; used in a trampoline, or in the thread of a bridge call, which
    gives up its turn while the coroutine runs: that may use the connection.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def settle(self, outcome: Any) -> Any:
        """Return `outcome`, or what it gives when it must be awaited."""
        if not inspect.isawaitable(outcome):
            return outcome
        if in_trampoline():
            return await_(outcome)
        talk = current_conversation()
        if talk is None:
            raise RuntimeError("a coroutine needs a bridge call that can wait for it")
        return talk.wait(
            asyncio.run_coroutine_threadsafe(_awaited(outcome), self._loop)
        )

    def sync(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return `fn`, settled, under the same name."""

        def settled(*args: Any, **kwargs: Any) -> Any:
            return self.settle(fn(*args, **kwargs))

        return update_wrapper(settled, fn)


async def _awaited(outcome: Awaitable[Any]) -> Any:
    return await outcome
