"""What a loss asks of the loop: little in each turn, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import kombu.transport.redis
import pytest

from celery_async_bridge.core.gate import GOING_ON
from tests.integration.redis_faults.burst import Burst, messages
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.redis_servers import RedisServer

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
PATIENT = {"max_retries": None, "interval_start": 0, "interval_step": 0.1}
WINDOW = 300


@pytest.fixture
def make_app(make_app_of_a_tier: MakeApp) -> MakeApp:
    """Run each test in the native tiers."""
    return make_app_of_a_tier


class Channels:
    """Counts the channels that Kombu makes, by the turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_turn: Counter[int] = Counter()
        self._turn = 0
        channel = kombu.transport.redis.Channel
        original = channel.__init__

        def init(this: Any, *args: Any, **kwargs: Any) -> None:
            self.by_turn[self._turn] += 1
            original(this, *args, **kwargs)

        monkeypatch.setattr(channel, "__init__", init)

    async def count(self) -> None:
        """Count the turns, until cancelled."""
        while True:
            self._turn += 1
            await asyncio.sleep(0)


async def _paused(server: RedisServer, burst: Burst) -> asyncio.Task[None]:
    """Send while the server says nothing; return what waits for the sends."""
    await burst.send(-2)
    os.kill(server.pid, signal.SIGSTOP)
    sending = asyncio.ensure_future(burst.run(WINDOW))
    await asyncio.sleep(0.2)
    return sending


async def _killed(server: RedisServer, burst: Burst) -> None:
    with burst.fault():
        await asyncio.to_thread(server.kill)


async def test_few_channels_are_made_in_one_turn(
    durable_server: RedisServer, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(durable_server.url, task_publish_retry_policy=PATIENT)
    burst = Burst(app, {"publish_timeout": 60})
    await burst.run(WINDOW)
    sending = await _paused(durable_server, burst)
    channels = Channels(monkeypatch)
    counting = asyncio.ensure_future(channels.count())
    await _killed(durable_server, burst)
    await asyncio.to_thread(durable_server.start)
    await asyncio.wait_for(sending, 60)
    counting.cancel()
    assert not burst.errors, burst.errors[:3]
    await asyncio.to_thread(burst.check, durable_server)
    assert channels.by_turn.total() > 0
    assert max(channels.by_turn.values()) <= 2 * GOING_ON


async def test_sends_cancelled_during_a_recovery_are_not_sent(
    server: RedisServer, make_app: MakeApp
) -> None:
    app = make_app(server.url, task_publish_retry_policy=PATIENT)
    burst = Burst(app, {"publish_timeout": 60})
    sending = await _paused(server, burst)
    await _killed(server, burst)
    await asyncio.sleep(0.3)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.to_thread(server.start)
    burst.sends.clear()
    send = await burst.send(-1)
    assert send.error is None, send.error
    assert len(await asyncio.to_thread(messages, server)) == 1
