"""A worker beside a test: with a thread, and in it a loop, of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import Any

from ..worker.embedded import embedded_worker
from ..worker.own_loop import OwnLoop

__all__ = ("worker_in_thread",)

#: Seconds that the loop gets to close its connections.
_CLOSING = 10.0


@contextmanager
def worker_in_thread(app: Any, concurrency: int = 100, **options: Any) -> Iterator[Any]:
    """Run a Celery worker in this process, for tests without a loop or with any.

    As `embedded_worker`, whose options these are, but async tasks run on the loop of a
    thread that is the worker's own, as under `-P asyncio`. It consumes before the block
    is entered, and everything it has is closed after it.

    Arguments:
        app: the Celery app.
        concurrency: how many tasks run at once.
        **options: those of `embedded_worker`.

    Raises:
        OperationalError: (`BrokerTimeout`) the broker cannot be reached.
        BaseException: what the worker has ended with.
    """
    own = OwnLoop(app)
    try:
        began: Future[Any] = Future()
        end = asyncio.Event()

        async def work() -> None:
            async with embedded_worker(app, concurrency, **options) as worker:
                began.set_result(worker)
                await end.wait()

        working = asyncio.run_coroutine_threadsafe(work(), own.loop)
        wait({began, working}, return_when=FIRST_COMPLETED)
        if not began.done():
            working.result()
        try:
            yield began.result()
        finally:
            own.loop.call_soon_threadsafe(end.set)
            wait({working})
        working.result()
    finally:
        own.unwatch()
        own.close(_CLOSING)
