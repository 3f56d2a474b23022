"""The program that is traced: the same sends by every tier, told as JSON.

    python -m tests.interop.tracers.scenario TRACER FIRST

`TRACER` is one of the names below. `FIRST` says what is set up first: the `tracer` or
the `bridge`. The environment names the servers (`TRACED_REDIS`, `TRACED_DEAD`) and the
prefix of all keys (`TRACED_PREFIX`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery

import celery_async_bridge
from celery_async_bridge.testing.contract.outcome import Outcome, describe, masked
from tests import tiers

if TYPE_CHECKING:
    from tests.interop.tracers.spans import Span, Tracer

__all__ = ("CROWD", "GONE", "NAMES", "SENDS")

NAMES: Mapping[str, str] = {
    "sentry": "tests.interop.tracers.sentry:Sentry",
    "otel": "tests.interop.tracers.otel:OpenTelemetry",
    "ddtrace": "tests.interop.tracers.datadog:Datadog",
}
SENDS, CROWD = 4, 50
#: Names the run without the bridge, at the end.
GONE = "uninstalled"
_TIERS = (tiers.SYNC, *tiers.TIERS)
_PREFIX = os.environ.get("TRACED_PREFIX", "traced")

Send = Callable[..., Awaitable[Any]]


def _app(url: str, tier: str) -> Any:
    app = Celery("traced", broker=url)  # the tracers look a task up in the current app
    app.conf.update(
        broker_transport_options={
            "global_keyprefix": f"{_PREFIX}:",
            # Where nobody listens, Kombu would go on for two seconds.
            "max_retries": 1,
            "interval_start": 0,
        },
        task_default_queue="q",
        task_publish_retry=False,
    )

    @app.task(name="traced.add", shared=False, ignore_result=True)
    def add(x: int, y: int = 0) -> int:
        return x + y

    app.finalize()
    app.set_current()
    tiers.prepare(tier, app)
    return app


class _Stage:
    """One tier's run: an app, a queue, and the spans that came of it."""

    def __init__(self, tracer: Tracer, client: Any, tier: str) -> None:
        self.tracer = tracer
        self.client = client
        self.tier = tier
        self.at_end: list[Any] = []

    def ended(self, name: str) -> None:
        self.at_end.append([name, self.client.llen(f"{_PREFIX}:q")])

    def messages(self) -> list[str]:
        key = f"{_PREFIX}:q"
        found = [item.decode() for item in self.client.lrange(key, 0, -1)]
        self.client.delete(key)
        return found[::-1]

    async def send(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        if self.tier == tiers.SYNC:
            return task.delay(*args, **kwargs)
        return await task.adelay(*args, **kwargs)

    async def quiet(self, task: Any) -> dict[str, Any]:
        """Send a few times below one span."""
        kept = []
        with self.tracer.span("parent"):
            before = self.tracer.current()
            for n in range(SENDS):
                await self.send(task, n, y=1)
                kept.append(self.tracer.current() == before)
        kept.append(self.tracer.current() == "")
        spans, messages = self.tracer.finished(), self.messages()
        at_end, self.at_end = self.at_end, []
        return {
            "current_kept": kept,
            "at_end": at_end,
            "spans": self._told(spans, messages),
        }

    async def alone(self, task: Any) -> dict[str, Any]:
        """Send below no span."""
        await self.send(task, 1)
        current = self.tracer.current()
        spans, messages = self.tracer.finished(), self.messages()
        self.at_end.clear()
        return {"current": current == "", "spans": self._told(spans, messages)}

    async def failing(self, task: Any) -> dict[str, Any]:
        """Send to a broker that is not there."""
        errors = []
        kept = []
        with self.tracer.span("parent"):
            before = self.tracer.current()
            for n in range(2):
                try:
                    await self.send(task, n)
                except Exception as exc:
                    errors.append(describe(exc)["type"])
                kept.append(self.tracer.current() == before)
        spans = self.tracer.finished()
        self.at_end.clear()
        return {
            "errors": errors,
            "current_kept": [*kept, self.tracer.current() == ""],
            "spans": self._told(spans, []),
        }

    async def crowd(self, task: Any) -> dict[str, Any]:
        """Send from many spans at once; count whose message has the right ones."""
        ids: dict[str, str] = {}

        async def one(n: int) -> bool:
            with self.tracer.span(f"parent-{n}"):
                mine = self.tracer.current()
                result = await self.send(task, n)
                ids[result.id] = mine
                return self.tracer.current() == mine

        kept = await asyncio.gather(*(one(n) for n in range(CROWD)))
        spans = {span.id: span for span in self.tracer.finished()}
        self.at_end.clear()
        right = 0
        for message in self.messages():
            headers = json.loads(message)["headers"]
            trace, span = self.tracer.carried(headers)
            parent = spans[ids[headers["id"]]]
            # The header names the span of the send, which is below the caller's.
            while span and span != parent.id:
                span = spans[span].parent
            right += span == parent.id and trace == parent.trace
        return {"kept": sum(kept), "right": right, "spans": len(spans)}

    def _told(self, spans: list[Span], messages: list[str]) -> Any:
        names = {span.id: span.name for span in spans}
        known: dict[str, str] = {}
        for span in spans:
            for one in (span.id, span.trace, *span.also):
                known.setdefault(one, f"<id {span.name}>")
        told = [
            [
                span.name,
                names.get(span.parent, "" if not span.parent else "<remote>"),
                span.error,
                dict(span.attributes),
            ]
            for span in spans
        ]
        texts = [*messages, json.dumps(told, default=str)]
        for pattern in self.tracer.noise:
            texts = [pattern.sub("<noise>", text) for text in texts]
        # The longer id may contain the shorter one.
        masks = {one: known[one] for one in sorted(known, key=len, reverse=True)}
        return masked(Outcome(wire=texts), masks)["wire"]


async def _run(stage: _Stage) -> dict[str, Any]:
    task = _app(os.environ["TRACED_REDIS"], stage.tier).tasks["traced.add"]
    # A span that a failed send left open ends when the app of the tier before goes.
    gc.collect()
    stage.tracer.finished()
    stage.at_end.clear()
    with tiers.witnessed() as taken:
        found: dict[str, Any] = {
            "quiet": await stage.quiet(task),
            "alone": await stage.alone(task),
            "crowd": await stage.crowd(task),
        }
    task = _app(os.environ["TRACED_DEAD"], stage.tier).tasks["traced.add"]
    # In a task of its own: what sync code leaves current ends with it.
    found["failing"] = await asyncio.create_task(stage.failing(task))
    found["tiers"] = sorted(set(taken))
    if stage.tier != tiers.SYNC:
        await celery_async_bridge.aclose()
    return found


def main(name: str, first: str) -> dict[str, Any]:
    """Run the scenes by every tier that there is."""
    module, _, attribute = NAMES[name].partition(":")
    tracer: Tracer = getattr(import_module(module), attribute)()
    stages: list[_Stage] = []

    def ended(span: str) -> None:
        if stages:
            stages[-1].ended(span)

    if first == "bridge":
        celery_async_bridge.install()
    tracer.start(ended)
    celery_async_bridge.install()
    found = {}
    with redis.Redis.from_url(os.environ["TRACED_REDIS"]) as client:
        for run, tier in (*((one, one) for one in _TIERS), (GONE, tiers.SYNC)):
            if tiers.missing(tier):
                continue
            if run == GONE:
                celery_async_bridge.uninstall()
            stages.append(_Stage(tracer, client, tier))
            with tiers.entered(tier):
                found[run] = asyncio.run(_run(stages[-1]))
            stages.clear()
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
