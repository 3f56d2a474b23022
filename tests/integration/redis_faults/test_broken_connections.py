"""Connections and servers that break during sends: nothing is silent."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.redis_faults.burst import STALL, Burst, idle_gap
from tests.integration.redis_faults.faulty_proxy import FaultyProxy, faulty_proxy
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.redis_servers import RedisServer

pytestmark = [ignore_unclosed, pytest.mark.redis, pytest.mark.slow]

MakeApp = Callable[..., Any]
#: Kombu's default gives up after 0.6 seconds; these calls outlive a restart.
PATIENT = {"max_retries": 60, "interval_start": 0, "interval_step": 0.1}
WINDOW = 512
#: Without the plain trampoline, whose messages upstream publishes as it does after a
#: failed attempt of these two.
_PLANS = pytest.mark.parametrize(
    "make_app_of_a_tier", ["plan", "beneath"], indirect=True
)


@pytest.fixture
def make_app(make_app_of_a_tier: MakeApp) -> MakeApp:
    """Run each test in the native tiers."""
    return make_app_of_a_tier


def _drop(server: RedisServer) -> None:
    """Close all connections from the server's side."""
    with server.admin() as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _cut(proxy: FaultyProxy, size: int) -> None:
    """Have the proxy reset its connections after so many bytes, and wait for it."""
    before, end = proxy.resets, time.monotonic() + 20
    proxy.reset_after(size)
    while proxy.resets == before:
        assert time.monotonic() < end, "nothing was sent"
        await asyncio.sleep(0.001)


async def _afterwards(burst: Burst) -> None:
    burst.options = {"publish_timeout": 20}
    send = await burst.send(-1)
    assert send.error is None, send.error


@_PLANS
@pytest.mark.parametrize("patient", [True, False], ids=["patient", "default"])
def test_killed_and_restarted_during_5000_sends(
    durable_server: RedisServer, make_app: MakeApp, patient: bool
) -> None:
    conf = {"task_publish_retry_policy": PATIENT} if patient else {}
    burst = Burst(make_app(durable_server.url, **conf), {"publish_timeout": 30})

    async def crash() -> None:
        await burst.reached(1500)
        with burst.fault():
            os.kill(durable_server.pid, signal.SIGKILL)
            await asyncio.to_thread(durable_server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(durable_server.start)

    async def main() -> float:
        await burst.send(-2)
        idle = await idle_gap()
        await burst.run(5000, crash, workers=WINDOW)
        await _afterwards(burst)
        return idle

    idle = asyncio.run(main())
    found = burst.check(durable_server)
    print(found, f"(idle: {idle * 1e3:.0f} ms)")
    assert burst.gap < idle + STALL
    assert found.returned > 1500
    # They had the time to wait for the server.
    assert not (patient and burst.errors), burst.errors[:3]


@pytest.mark.parametrize("workers", [None, 100], ids=["gather", "workers"])
def test_dropped_by_the_server(
    server: RedisServer, make_app: MakeApp, workers: int | None
) -> None:
    burst = Burst(make_app(server.url), {"publish_timeout": 10})

    async def drop() -> None:
        for n in range(1, 4):
            await burst.reached(400 * n)
            with burst.fault():
                await asyncio.to_thread(_drop, server)

    asyncio.run(burst.run(2000, drop, workers=workers))
    found = burst.check(server)
    print(found)
    # Kombu replaces a connection once for each call; some meet the next drop, too.
    assert found.returned > 1000


@_PLANS
@pytest.mark.parametrize("size", [100, 10_000, 100_001])
def test_reset_in_the_middle_of_a_burst(
    server: RedisServer, make_app: MakeApp, size: int
) -> None:
    """After so many bytes, be it within a command."""
    with faulty_proxy(server.url) as proxy:
        burst = Burst(make_app(proxy.url), {"publish_timeout": 10})

        async def reset() -> None:
            await burst.reached(100)
            for _ in range(3):
                with burst.fault():
                    await _cut(proxy, size)

        async def main() -> None:
            await burst.run(2000, reset, workers=200)
            await _afterwards(burst)

        asyncio.run(main())
        found = burst.check(server)
        print(found)
        assert proxy.resets >= 3
        # Kombu replaces a connection once for each call; some meet the next reset, too.
        assert found.returned > 1000


def test_uncertain_sends_are_not_repeated_if_unwanted(
    server: RedisServer, make_app: MakeApp
) -> None:
    resets = 5
    with faulty_proxy(server.url) as proxy:
        app = make_app(proxy.url, async_retry_uncertain=False)
        burst = Burst(app, {"publish_timeout": 10})

        async def reset() -> None:
            for n in range(1, resets + 1):
                await burst.reached(400 * n)
                with burst.fault():
                    await _cut(proxy, 20_000)

        async def main() -> None:
            await burst.run(3000, reset, workers=200)
            await _afterwards(burst)

        asyncio.run(main())
    found = burst.check(server)
    print(found)
    assert found.copies == 0
    # Each cut took the answers of what had been written before it.
    assert 0 < found.raised <= resets * WINDOW
    assert found.raised_and_sent > 0
    uncertain = [e for e in burst.errors if getattr(e, "uncertain", False)]
    assert len(uncertain) >= found.raised_and_sent
    assert {getattr(e, "task_id", None) for e in uncertain} <= burst.sends.keys()


def test_no_more_is_in_flight_than_the_cap(
    server: RedisServer, make_app: MakeApp
) -> None:
    """What was written without an answer, and may so be written twice, is bounded."""
    with faulty_proxy(server.url) as proxy:
        app = make_app(proxy.url, async_max_inflight=50)
        burst = Burst(app, {"publish_timeout": 2})

        async def main() -> None:
            await burst.send(-2)
            proxy.hole()
            await asyncio.sleep(0.05)
            await burst.run(1000)
            assert len(burst.errors) == 1000
            proxy.heal()
            await _afterwards(burst)

        asyncio.run(main())
        found = burst.check(server)
        print(found)
        assert found.raised_and_sent <= 50
