"""`python -m celery_async_bridge demo`: the whole bridge in half a minute."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..core.mask import mask
from ._example import load_shop
from ._steps import STEPS, Scene, Skipped
from ._stock_worker import find_worker, stock_worker

__all__ = ("main",)

#: Where results go by default, for brokers that live in this process.
_BACKENDS = {"embedded://": "embedded://demo", "memory://": "cache+memory://"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m celery_async_bridge demo",
        description="Send tasks, canvases and a retry through a real worker.",
    )
    parser.add_argument(
        "--broker",
        default="embedded://demo",
        help="broker URL (default: a broker inside the process)",
    )
    parser.add_argument(
        "--backend",
        help="result backend URL (default: in the process, rpc:// with a server)",
    )
    parser.add_argument(
        "--queue", help="queue of a running worker (default: one of the demo's own)"
    )
    return parser


@asynccontextmanager
async def _worker(app: Any, queue: str, in_memory: bool) -> AsyncIterator[str]:
    import celery_async_bridge

    if in_memory:
        async with celery_async_bridge.embedded_worker(app, concurrency=100):
            yield "embedded, in this process"
    elif (name := await find_worker(app, queue)) is not None:
        yield f"{name}, already running"
    else:
        async with stock_worker(app, queue) as name:
            yield f"{name}, a stock prefork worker started for the demo"


@asynccontextmanager
async def _swept(app: Any, queue: str) -> AsyncIterator[None]:
    from kombu import Queue

    yield
    own: Any = Queue(queue)
    async with app.connection_for_write() as connection:
        await (await own.abind(connection)).adelete()


async def _show(scene: Scene) -> bool:
    good = True
    for name, step in STEPS:
        began = time.perf_counter()
        try:
            mark, text = "ok", await step(scene)
        except Skipped as exc:
            mark, text = "--", str(exc)
        except Exception as exc:
            good, mark, text = False, "FAILED", f"{type(exc).__name__}: {exc}"
        spent = time.perf_counter() - began
        print(f"  {name:<12} {mark:<6} {spent:6.2f} s  {text}", flush=True)
    return good


async def _run(broker: str, backend: str, queue: str) -> int:
    import celery_async_bridge

    began = time.perf_counter()
    added = celery_async_bridge.install()
    spent = (time.perf_counter() - began) * 1000
    tasks = load_shop(broker, backend, queue)
    app = tasks.price.app
    in_memory = broker.startswith(tuple(_BACKENDS))
    print(f"broker   {mask(broker)}\nbackend  {mask(backend)}")
    print(f"install  {len(added)} awaitable methods in {spent:.0f} ms")
    async with (
        celery_async_bridge.lifespan(app),
        _swept(app, queue),
        _worker(app, queue, in_memory) as worker,
    ):
        print(f"worker   {worker}\n", flush=True)
        scene = Scene(app, tasks, runs_coroutines=in_memory)
        watch = asyncio.create_task(scene.watch())
        try:
            good = await _show(scene)
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
    print(f"\n  the loop was never later than {max(scene.gaps) * 1000:.0f} ms")
    print("everything worked" if good else "something failed, see above")
    return 0 if good else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    options = _parser().parse_args(argv)
    default = next(
        (url for scheme, url in _BACKENDS.items() if options.broker.startswith(scheme)),
        "rpc://",
    )
    queue = options.queue or f"shop-{uuid.uuid4().hex[:8]}"
    try:
        return asyncio.run(_run(options.broker, options.backend or default, queue))
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        print(
            f"the demo cannot run on {mask(options.broker)}: "
            f"{type(exc).__name__}: {mask(str(exc))}",
            file=sys.stderr,
        )
        return 1
