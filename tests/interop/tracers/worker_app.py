"""The tasks of a traced `celery worker -P asyncio`, and the tracer in its process.

`TRACED_TRACER` and `TRACED_FIRST` are the arguments of `scenario`, `TRACED_BROKER`,
`TRACED_REDIS` and `TRACED_PREFIX` name servers and keys.
"""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="untyped-decorator,attr-defined"

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from celery import Celery

import celery_async_bridge
from tests.interop.tracers.scenario import NAMES

if TYPE_CHECKING:
    from tests.interop.tracers.spans import Tracer

__all__ = ("make_app", "start_tracer")


def start_tracer() -> Tracer:
    """Set up tracer and bridge, in the order that the environment says."""
    module, _, attribute = NAMES[os.environ["TRACED_TRACER"]].partition(":")
    tracer: Tracer = getattr(import_module(module), attribute)()
    if os.environ["TRACED_FIRST"] == "bridge":
        celery_async_bridge.install()
    tracer.start(lambda name: None)
    celery_async_bridge.install()
    return tracer


def make_app(tracer: Tracer) -> Any:
    """The app; tracers look a task up in the current one."""
    prefix = os.environ["TRACED_PREFIX"]
    app = Celery(
        "traced",
        broker=os.environ["TRACED_BROKER"],
        backend=os.environ["TRACED_REDIS"],
    )
    app.conf.update(
        task_default_queue=f"{prefix}.tasks",
        control_exchange=f"{prefix}.control",
        result_backend_transport_options={"global_keyprefix": f"{prefix}:"},
        result_expires=60,
        worker_hijack_root_logger=False,
    )
    if app.conf.broker_url.startswith("redis"):
        app.conf.broker_transport_options = {"global_keyprefix": f"{prefix}:"}

    @app.task(name="traced.child", shared=False)
    async def child() -> str:
        await asyncio.sleep(0)
        return tracer.current()

    @app.task(name="traced.work", shared=False, bind=True, max_retries=1)
    async def work(self: Any, number: int) -> list[Any]:
        before = tracer.current()
        await asyncio.sleep(0.001 * (number % 7))
        with tracer.below(f"inner-{self.request.id}"):
            inner = tracer.current()
            await asyncio.sleep(0.001 * (number % 5))
            same = tracer.current() == inner
        if number % 10 == 0 and not self.request.retries:
            await self.aretry(countdown=1)
        sent = (await child.adelay()).id if number % 10 == 1 else None
        await asyncio.sleep(0)
        return [before, tracer.current(), same, sent]

    @app.task(name="traced.sync", shared=False)
    def sync() -> str:
        return tracer.current()

    @app.task(name="traced.fails", shared=False)
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("boo")

    @app.task(name="traced.report", shared=False)
    async def report() -> dict[str, Any]:
        return {
            "spans": [asdict(span) for span in tracer.finished()],
            "errors": tracer.errors(),
        }

    app.finalize()
    app.set_current()
    return app


if "TRACED_IN_WORKER" in os.environ:
    app = make_app(start_tracer())
