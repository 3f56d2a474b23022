"""A broker that is not there, or does not answer: deadlines hold, the loop turns."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from celery_async_bridge.errors import PublishTimeout
from tests.integration.proxy import at_port, proxied
from tests.integration.redis_faults.burst import NOISE, Burst, idle_gap
from tests.integration.redis_faults.faulty_proxy import faulty_proxy, swallowing_port
from tests.redis_servers import RedisServer, free_port
from tests.sweep import ignore_unclosed

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
DEADLINE = 1.0
ENDLESS = {"max_retries": None, "interval_start": 0, "interval_step": 0.1}


@pytest.fixture
def make_app(make_app_of_a_tier: MakeApp) -> MakeApp:
    """Run each test in the native tiers."""
    return make_app_of_a_tier


@contextmanager
def _refused(server: RedisServer) -> Iterator[str]:
    yield at_port(server.url, free_port())


@contextmanager
def _swallowed(server: RedisServer) -> Iterator[str]:
    with swallowing_port() as port:
        yield at_port(server.url, port)


@contextmanager
def _silent(server: RedisServer) -> Iterator[str]:
    with proxied(server.url, silent=True) as proxy:
        yield proxy.url


PLACES = {"refused": _refused, "swallowed": _swallowed, "silent": _silent}


def _measured(burst: Burst, idle: float) -> str:
    """See that no deadline and no turn of the loop was missed by much."""
    failed = [send for send in burst.sends.values() if send.error is not None]
    late = max(send.late for send in failed)
    assert late < NOISE, f"the last call ended {late:.3f} s after its deadline"
    assert burst.gap < idle + NOISE, f"the loop stood still for {burst.gap:.3f} s"
    return (
        f"{len(failed)} of {len(burst.sends)} raised, the last one "
        f"{late * 1e3:.0f} ms after its deadline, loop late by "
        f"{burst.gap * 1e3:.0f} ms at most (idle: {idle * 1e3:.0f} ms)"
    )


@pytest.mark.parametrize("policy", [None, ENDLESS], ids=["policy", "endless"])
@pytest.mark.parametrize("place", PLACES)
def test_never_there(
    shared_server: RedisServer, make_app: MakeApp, place: str, policy: Any
) -> None:
    conf = {} if policy is None else {"task_publish_retry_policy": policy}
    with PLACES[place](shared_server) as url:
        burst = Burst(make_app(url, **conf), {"publish_timeout": DEADLINE})

        async def main() -> float:
            idle = await idle_gap()
            await burst.run(100)
            return idle

        print(_measured(burst, asyncio.run(main())))
    burst.check(shared_server)
    assert len(burst.errors) == 100
    if policy is not None:
        assert all(isinstance(error, PublishTimeout) for error in burst.errors)


def test_there_at_last(make_app: MakeApp, server: RedisServer) -> None:
    """A server that comes up while calls are retried gets them all."""
    server.stop()
    app = make_app(server.url, task_publish_retry_policy=ENDLESS)
    burst = Burst(app, {"publish_timeout": 15})

    async def start() -> None:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)

    asyncio.run(burst.run(50, start))
    print(burst.check(server))
    assert not burst.errors


async def _warm(burst: Burst) -> float:
    options, burst.options = burst.options, {"publish_timeout": 30}
    await burst.run(50)
    burst.options = options
    assert not burst.errors, burst.errors
    return await idle_gap()


async def _works_again(burst: Burst, seconds: float = 30.0) -> None:
    """One send succeeds, at the latest when its own deadline is over."""
    burst.options = {"publish_timeout": seconds}
    send = await burst.send(-1)
    assert send.error is None, send.error


def test_paused(server: RedisServer, make_app: MakeApp) -> None:
    burst = Burst(make_app(server.url), {"publish_timeout": DEADLINE})

    def pause() -> None:
        # Nothing ends such a pause but time: the order to end it would wait, too. Long
        # enough for the slowest machine to see all deadlines pass before that.
        with server.admin() as admin:
            admin.execute_command("CLIENT", "PAUSE", int(6000 * DEADLINE), "ALL")

    async def main() -> float:
        idle = await _warm(burst)
        with burst.fault():
            await asyncio.to_thread(pause)
            await burst.run(100)
        assert len(burst.errors) == 100
        await _works_again(burst)
        return idle

    idle = asyncio.run(main())
    print(_measured(burst, idle))
    print(burst.check(server))
    errors = [error for error in burst.errors if isinstance(error, PublishTimeout)]
    assert len(errors) == 100
    assert {error.task_id for error in errors} <= burst.sends.keys()
    assert any(error.uncertain for error in errors)


def test_black_hole(server: RedisServer, make_app: MakeApp) -> None:
    """Packets vanish under connections that look alive."""
    with faulty_proxy(server.url) as proxy:
        burst = Burst(make_app(proxy.url), {"publish_timeout": DEADLINE})

        async def main() -> float:
            idle = await _warm(burst)
            with burst.fault():
                proxy.hole()
                await asyncio.sleep(0.05)
                await burst.run(100)
            assert len(burst.errors) == 100
            proxy.heal()
            await _works_again(burst)
            return idle

        idle = asyncio.run(main())
        print(_measured(burst, idle))
        # What was held back arrives now.
        print(burst.check(server))


def test_a_stopped_process(server: RedisServer, make_app: MakeApp) -> None:
    """The kernel still takes bytes and connections for a server that hangs."""

    burst = Burst(make_app(server.url), {"publish_timeout": DEADLINE})

    async def main() -> float:
        idle = await _warm(burst)
        with burst.fault():
            os.kill(server.pid, signal.SIGSTOP)
            await burst.run(100)
        assert len(burst.errors) == 100
        os.kill(server.pid, signal.SIGCONT)
        await _works_again(burst)
        return idle

    try:
        idle = asyncio.run(main())
    finally:
        os.kill(server.pid, signal.SIGCONT)
    print(_measured(burst, idle))
    print(burst.check(server))
