"""Close what the bridge holds for a running loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ("aclose", "lifespan")


async def aclose() -> None:
    """Close the connections and waiters that belong to the running loop.

    The next call on this loop opens new ones.
    """
    from .core.loops import aclose_loop

    await aclose_loop()


@asynccontextmanager
async def lifespan(app: Any = None) -> AsyncIterator[None]:
    """Call `aclose()` when the block is left: for the life of a server or script.

    Arguments:
        app: accepted so that it can be handed to a framework as it is; FastAPI passes
            its own application here.
    """
    try:
        yield
    finally:
        await aclose()
