"""An alarm rings once, when it is due, and not before."""

from __future__ import annotations

import asyncio

from celery_async_bridge.drivers.redis.alarm import Alarm


async def test_what_is_put_off_rings_later_and_once() -> None:
    loop = asyncio.get_running_loop()
    rung: asyncio.Queue[float] = asyncio.Queue()
    alarm = Alarm(lambda: rung.put_nowait(loop.time()))
    now = loop.time()
    alarm.set(now + 0.01)
    alarm.set(now + 0.03)
    assert alarm.is_set
    assert await rung.get() >= now + 0.03 - 0.001
    assert not alarm.is_set
    # Sooner than before, then not at all.
    alarm.set(now + 3600)
    alarm.set(loop.time())
    await rung.get()
    alarm.set(loop.time())
    alarm.stop()
    done: asyncio.Queue[None] = asyncio.Queue()
    other = Alarm(lambda: done.put_nowait(None))
    other.set(loop.time() + 0.02)
    await done.get()
    assert rung.empty()


async def test_cancelled_leaves_nothing_on_the_loop() -> None:
    loop = asyncio.get_running_loop()
    alarm = Alarm(bool)
    alarm.set(loop.time() + 3600)
    handle = alarm._handle
    alarm.cancel()
    assert handle is not None
    assert handle.cancelled()
    alarm.cancel()
    assert not alarm.is_set
