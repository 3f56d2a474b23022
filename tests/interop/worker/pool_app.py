"""The tasks of a `celery worker -P asyncio`; importing it installs the bridge."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from typing import Any

from celery import current_task, signals
from celery._state import get_current_worker_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

import celery_async_bridge
from tests.interop.stock_app import make_app as stock_tasks

celery_async_bridge.install()

#: The signals of a worker with the asyncio pool, in their order.
LIFE = (
    "worker_init",
    "worker_process_init",
    "worker_ready",
    "worker_process_shutdown",
    "worker_shutdown",
)


def _write(path: str, text: str) -> None:
    # One write into a file that is only added to: it is there or not.
    line = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{text}\n".encode())
    os.close(line)


def _note(number: int) -> None:
    _write(os.environ["POOL_RECORD"], str(number))


def make_app(broker: str, backend: str, prefix: str) -> Any:
    """The app, with names on the servers that begin with `prefix`."""
    app = stock_tasks(broker, backend, prefix)
    app.conf.worker_prefetch_multiplier = 4
    app.conf.update(json.loads(os.environ.get("POOL_CONF", "{}")))

    @app.task(shared=False, name="pool.aadd")
    async def aadd(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x + y

    @app.task(shared=False, name="pool.nap")
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    for name, late in (("pool.early", False), ("pool.late", True)):

        @app.task(shared=False, name=name, acks_late=late, ignore_result=True)
        async def record(number: int, seconds: float) -> None:
            await asyncio.sleep(seconds)
            _note(number)

    @app.task(shared=False, name="sync.late", acks_late=True, ignore_result=True)
    def sync_late(number: int, seconds: float) -> None:
        time.sleep(seconds)
        _note(number)

    @app.task(shared=False, name="pool.bound", bind=True, max_retries=3)
    async def bound(self: Any, number: int) -> list[Any]:
        seen = [self.request.id]
        await asyncio.sleep(0.001 * (number % 7))
        seen.append(current_task.request.id)
        if number % 10 == 0 and self.request.retries == 0:
            await self.aretry(countdown=0)
        child = None
        if number % 10 == 1:
            child = (await app.tasks["stock.whoami"].adelay()).id
        await asyncio.sleep(0)
        worker_task: Any = get_current_worker_task()
        seen += [self.request.id, worker_task.request.id]
        return [seen, self.request.retries, child]

    @app.task(shared=False, name="pool.fails")
    async def fails(text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    @app.task(
        shared=False,
        name="pool.flaky",
        bind=True,
        autoretry_for=(KeyError,),
        retry_backoff=0.01,
        max_retries=2,
    )
    async def flaky(self: Any) -> int:
        await asyncio.sleep(0)
        if self.request.retries < 2:
            raise KeyError(self.request.retries)
        return int(self.request.retries)

    @app.task(shared=False, name="pool.patient")
    async def patient(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded:
            return "soft"
        return "whole"

    @app.task(shared=False, name="pool.burn", ignore_result=True)
    async def burn(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(10_000))
            await asyncio.sleep(0)

    @app.task(shared=False, name="pool.blocks")
    def blocks(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    _outcomes(app)
    app.finalize()
    return app


def _outcomes(app: Any) -> None:
    """Tasks that end otherwise than with a value or an error."""

    @app.task(shared=False, name="pool.ignores", bind=True)
    async def ignores(self: Any) -> None:
        await self.aupdate_state(state="HALFWAY", meta={"done": 1})
        raise Ignore

    @app.task(shared=False, name="pool.rejects", bind=True, acks_late=True)
    async def rejects(self: Any, number: int, requeue: bool) -> None:
        await asyncio.sleep(0)
        _note(number)
        if requeue and self.request.delivery_info["redelivered"]:
            return
        raise Reject("no", requeue=requeue)

    @app.task(shared=False, name="sync.rejects", acks_late=True)
    def sync_rejects(number: int) -> None:
        _note(number)
        raise Reject("no", requeue=False)

    @app.task(shared=False, name="pool.replaces", bind=True)
    async def replaces(self: Any, number: int, awaited: bool) -> None:
        signature = app.tasks["pool.aadd"].s(number, 1)
        if awaited:
            await self.areplace(signature)
        raise self.replace(signature)


def note_life(path: str) -> None:
    """Have async receivers write down the life of a worker: signal and thread."""

    def noting(name: str) -> Any:
        async def receive(**_: Any) -> None:
            await asyncio.sleep(0)
            _write(path, f"{name} {threading.current_thread().name}")

        return receive

    for name in LIFE:
        getattr(signals, name).connect(noting(name), weak=False)


if "POOL_LIFE" in os.environ:
    note_life(os.environ["POOL_LIFE"])

if "STOCK_BROKER" in os.environ:
    app = make_app(
        os.environ["STOCK_BROKER"],
        os.environ["STOCK_BACKEND"],
        os.environ["STOCK_PREFIX"],
    )
