"""A worker beside a test: with a thread, and in it a loop, of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from ..lifespan import aclose
from ..worker.embedded import embedded_worker

__all__ = ("worker_in_thread",)


@contextmanager
def worker_in_thread(app: Any, concurrency: int = 100, **options: Any) -> Iterator[Any]:
    """Run a Celery worker in this process, for tests without a loop or with any.

    As `embedded_worker`, whose options these are, but async tasks run on the loop of a
    thread that is the worker's own. It consumes before the block is entered.

    Raises:
        OperationalError: (`BrokerTimeout`) the broker cannot be reached.
        BaseException: what the worker has ended with.
    """
    began: Future[tuple[Any, Any]] = Future()

    async def work() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            async with embedded_worker(app, concurrency, **options) as worker:
                began.set_result((worker, lambda: loop.call_soon_threadsafe(end.set)))
                await end.wait()
        finally:
            await aclose()

    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as exc:
            failed.append(exc)
            if not began.done():
                began.set_exception(exc)

    thread = threading.Thread(target=run, name="celery-async-tests", daemon=True)
    thread.start()
    try:
        worker, leave = began.result()
    except BaseException:
        thread.join()
        raise
    try:
        yield worker
    finally:
        leave()
        thread.join()
    if failed:
        raise failed[0]
