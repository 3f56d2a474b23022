"""Rows that show what there is to win: the limit of Python, bare LPUSH, nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .limit import Wire, envelope, lpush, template
from .measure import Sender

if TYPE_CHECKING:
    from .case import Case

__all__ = ("limit", "lpush_only", "lpush_paced", "nothing", "rendered")


def _fixed(case: Case) -> dict[str, Any]:
    return {
        "queue": case.name,
        "origin": "gen1@host",
        "reply_to": str(uuid4()),
        "ignore_result": not case.load.backend,
    }


@asynccontextmanager
async def _pushing(
    case: Case, message: Callable[[int], bytes]
) -> AsyncIterator[Sender]:
    wire = await Wire.open(case.port)
    key = case.name.encode()

    async def send(number: int) -> Any:
        return await wire.execute(lpush(key, message(number)))

    try:
        yield Sender(send, count=case.counted("LLEN", case.name))
    finally:
        wire.close()


def limit(case: Case) -> AbstractAsyncContextManager[Sender]:
    """Celery's message by hand: real dicts, then JSON."""
    text, fixed = case.load.text, _fixed(case)
    return _pushing(case, lambda number: envelope(number, text, **fixed))


def rendered(case: Case) -> AbstractAsyncContextManager[Sender]:
    """The same message from a template."""
    return _pushing(case, template(case.load.text, **_fixed(case)))


def lpush_only(case: Case) -> AbstractAsyncContextManager[Sender]:
    """A message with the same number of bytes, ready made."""
    message = envelope(case.load.count, case.load.text, **_fixed(case))
    return _pushing(case, lambda _: message)


def lpush_paced(case: Case) -> AbstractAsyncContextManager[Sender]:
    """The same, by a client that works between two messages about as long as ours.

    What a command costs the server depends on how long it has slept and what else was
    in the caches since: the same bytes in the same packets cost half as much again
    when they come at a tenth of the speed.
    """
    text, fixed = case.load.text, _fixed(case)

    def message(number: int) -> bytes:
        # Ours is about twice as dear as the limit.
        envelope(number, text, **fixed)
        return envelope(number, text, **fixed)

    return _pushing(case, message)


@asynccontextmanager
async def nothing(case: Case) -> AsyncIterator[Sender]:
    """What the loop does by itself: coroutines that do nothing, or idling."""

    async def noop(_: int) -> None:
        pass

    async def idle(_: int) -> None:
        await asyncio.sleep(0.001)

    yield Sender(idle if case.load.shape == "sequential" else noop)
