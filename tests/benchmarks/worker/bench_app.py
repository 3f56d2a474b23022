"""The tasks that the workers of this benchmark run."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from celery import Celery

import celery_async_bridge

celery_async_bridge.install()


def make_app(url: str, prefix: str) -> Any:
    """An app whose keys in Redis begin with `prefix`; no task keeps a result."""
    app = Celery("bench", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=prefix,
        task_ignore_result=True,
        # A message is gone when its task has ended: until then a drain is measured.
        task_acks_late=True,
        worker_prefetch_multiplier=4,
        broker_transport_options={"global_keyprefix": f"{prefix}:"},
        control_exchange=f"{prefix}.control",
        worker_hijack_root_logger=False,
    )

    @app.task(shared=False, name="noop")
    def noop() -> None:
        pass

    @app.task(shared=False, name="anoop")
    async def anoop() -> None:
        pass

    @app.task(shared=False, name="nap")
    def nap() -> None:
        time.sleep(0.01)

    @app.task(shared=False, name="anap")
    async def anap() -> None:
        await asyncio.sleep(0.01)

    @app.task(shared=False, name="long")
    async def long() -> None:
        await asyncio.sleep(0.5)

    app.finalize()
    return app


if "BENCH_URL" in os.environ:
    app = make_app(os.environ["BENCH_URL"], os.environ["BENCH_PREFIX"])
