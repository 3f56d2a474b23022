"""What a loss of Redis costs the loop while 512 sends are in flight.

    python -m tests.benchmarks.recovery [--runs N] [--case NAME ...] [--tier NAME ...]

Each run sends 5000 messages and breaks something; then the same loop idles through the
same. Printed are the longest gap of both, and the longest turn of the loop in seconds
of CPU, with and without full runs of Python's collector, whose length is that of the
whole program's heap. The bounds are on the last figure, an idle loop's gap and 20 ms,
and on the time from a deadline to the end of its call, 50 ms. Nothing counts in which
the machine was busy with something else.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

import celery_async_bridge
from tests.integration.apps import an_app, loop_gaps
from tests.integration.proxy import at_port
from tests.integration.redis_faults.burst import Burst
from tests.integration.redis_faults.faulty_proxy import FaultyProxy, faulty_proxy
from tests.redis_servers import DURABLE, RedisServer, free_port, redis_server

COUNT, WORKERS = 5000, 512
#: Cases in which calls meet their deadline, in seconds.
DEADLINES = {"refused": 1.0, "hole": 1.0, "paused": 1.0}
PAUSE = 2.5
BOUND, LATE = 0.02, 0.05
PATIENT = {"max_retries": 60, "interval_start": 0, "interval_step": 0.1}
Breaks = Callable[[], Awaitable[None]]


class Turns(asyncio.SelectorEventLoop):
    """A loop that notes the CPU time of its turns, and how much the collector took."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[float, float]] = []
        self.noting = False
        self._began = 0.0
        self._collected = 0.0

    def _process_events(self, events: Any) -> None:
        self._began, self._collected = time.thread_time(), 0.0
        super()._process_events(events)  # type: ignore[misc]

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        if self.noting:
            self.noted.append((time.thread_time() - self._began, self._collected))

    def collector(self, phase: str, info: dict[str, int]) -> None:
        """Be told of a run of the collector."""
        if info["generation"] == 2:
            now = time.thread_time()
            self._collected += now if phase == "stop" else -now


@contextmanager
def _app(url: str, tier: str) -> Iterator[Any]:
    name = f"bench-{secrets.token_hex(4)}"
    with an_app(url, "", name, task_publish_retry_policy=PATIENT) as app:
        if tier == "trampoline":

            class Overriding(app.Task):  # type: ignore[misc, name-defined]
                abstract = True

                def apply_async(self, *args: Any, **kwargs: Any) -> Any:
                    return super().apply_async(*args, **kwargs)

            app.add = app.task(app.add.run, name="own", base=Overriding, shared=False)
        yield app


async def _kill(server: RedisServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.start)


async def _reset(proxy: FaultyProxy) -> None:
    proxy.reset()
    await asyncio.sleep(0.3)


async def _hole(proxy: FaultyProxy) -> None:
    proxy.hole()
    await asyncio.sleep(0.3)


async def _pause(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        await asyncio.to_thread(client.client_pause, int(PAUSE * 1e3), all=True)
    await asyncio.sleep(0.3)


async def _measure(
    loop: Turns, burst: Burst, case: str, breaks: Breaks
) -> tuple[str, bool]:
    refused = case == "refused"
    count = WORKERS if refused else COUNT
    if not refused:
        await burst.send(-1)
    gc.collect()

    gaps: list[float] = []

    async def meanwhile() -> None:
        # What it costs to start hundreds of calls is not asked here.
        await (asyncio.sleep(0.1) if refused else burst.reached(1500))
        loop.noting = True
        async with loop_gaps() as found:
            with burst.fault():
                await breaks()
            await burst.reached(count + (not refused))
        loop.noting = False
        gaps.extend(found)

    await burst.run(count, meanwhile, workers=WORKERS)
    gc.collect()
    async with loop_gaps() as idle_gaps:
        await breaks()
    gap, idle = max(gaps), max(idle_gaps)
    whole = max(cpu for cpu, _ in loop.noted)
    rest = max(cpu - collected for cpu, collected in loop.noted)
    late = max(send.late for send in burst.sends.values())
    text = (
        f"gap {gap * 1e3:4.0f} ms (idle {idle * 1e3:3.0f}); longest turn "
        f"{whole * 1e3:4.0f} ms of CPU, {rest * 1e3:3.0f} without the collector; "
        f"{len(burst.errors)} raised"
    )
    if case in DEADLINES:
        text += f", {late * 1e3:.0f} ms after their deadlines at most"
    return text, rest < idle + BOUND and late < LATE


def _run(case: str, tier: str) -> bool:
    with redis_server(options=DURABLE) as server, faulty_proxy(server.url) as proxy:
        url, breaks = {
            "kill": (server.url, lambda: _kill(server)),
            "reset": (proxy.url, lambda: _reset(proxy)),
            "refused": (at_port(server.url, free_port()), lambda: asyncio.sleep(0.3)),
            "hole": (proxy.url, lambda: _hole(proxy)),
            "paused": (server.url, lambda: _pause(server)),
        }[case]
        with _app(url, tier) as app:
            burst = Burst(app, {"publish_timeout": DEADLINES.get(case, 30.0)})
            loop = Turns()
            gc.callbacks.append(loop.collector)
            try:
                text, good = loop.run_until_complete(
                    _measure(loop, burst, case, breaks)
                )
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                gc.callbacks.remove(loop.collector)
                loop.close()
            if case != "refused":
                burst.check(server)
    print(f"{case:8}{tier:11}{text} ({'ok' if good else 'over'})", flush=True)
    return good


def main() -> int:
    """Print the figures; 1 if one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    cases, tiers = ["kill", "reset", *DEADLINES], ["plan", "trampoline"]
    parser.add_argument("--case", nargs="*", choices=cases, default=cases)
    parser.add_argument("--tier", nargs="*", choices=tiers, default=tiers)
    options = parser.parse_args()
    celery_async_bridge.install()
    good = [
        _run(case, tier)
        for _ in range(options.runs)
        for case in options.case
        for tier in options.tier
    ]
    return int(not all(good))


if __name__ == "__main__":
    raise SystemExit(main())
