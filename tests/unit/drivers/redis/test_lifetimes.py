"""Connections end with the loop, with `aclose`, and never reach a forked child."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from celery_async_bridge.core.loops import aclose_loop
from celery_async_bridge.drivers.redis.mux import muxes
from tests.redis_servers import eventually
from tests.unit.core.help import run, until
from tests.unit.drivers.redis.help import Pools, Watcher, call

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
_HEAD = """
import asyncio, os, sys, time
import redis
from celery_async_bridge.core import registry
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.drivers.redis import RedisDriver
from celery_async_bridge.drivers.redis.mux import muxes
registry.register("redis", RedisDriver())
import celery_async_bridge
celery_async_bridge.install()
URL, NAME = {url!r}, {name!r}
client = redis.Redis.from_url(URL, client_name=NAME)
admin = redis.Redis.from_url(URL)
def now():
    return sorted(c["id"] for c in admin.client_list() if c["name"] == NAME)
def settles(want):
    end = time.monotonic() + 20
    while now() != want:
        assert time.monotonic() < end, (now(), want)
        time.sleep(0.02)
"""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_twenty_loops_leave_no_socket(pools: Pools, watcher: Watcher) -> None:
    client = pools.client()
    watcher.now()

    async def main() -> None:
        await asyncio.gather(*(call(client.ping) for _ in range(10)))

    asyncio.run(main())
    before = descriptors()
    for _ in range(20):
        asyncio.run(main())
        # The server frees what has left at the end of its turn.
        eventually(lambda: not watcher.now(), what="nobody connected")
    assert descriptors() == before


def test_nobody_complains_of_what_was_left(redis_url: str, unique: str) -> None:
    code = """
import gc
async def main():
    await asyncio.gather(*(spawn(client.ping) for _ in range(10)))
    blocked = asyncio.ensure_future(spawn(lambda: client.blpop("nosuch", 30)))
    late = asyncio.ensure_future(spawn(client.ping))
    await asyncio.sleep(0.05)
for _ in range(20):
    asyncio.run(main())
gc.collect()
settles([])
client.close()
admin.close()
"""
    done = run(_HEAD.format(url=redis_url, name=unique) + code)
    assert (done.returncode, done.stderr) == (0, "")


async def test_closing_and_going_on(pools: Pools, watcher: Watcher) -> None:
    client = pools.client()
    for _ in range(3):
        await call(client.ping)
        assert await watcher.count() == 1
        await aclose_loop()
        await watcher.settles(0)
    assert await call(lambda: client.echo("x")) == b"x"


async def test_closing_ends_what_waits(pools: Pools, watcher: Watcher) -> None:
    client = pools.client()
    await call(client.ping)
    (mux,) = muxes()
    await watcher.ask("CLIENT", "PAUSE", 5_000, "WRITE")
    try:
        waiting = [
            asyncio.ensure_future(call(lambda: client.rpush("nosuch", 1)))
            for _ in range(3)
        ]
        await until(lambda: len(mux._link.waiting) == 3)  # type: ignore[union-attr]
        await aclose_loop()
        errors: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await watcher.ask("CLIENT", "UNPAUSE")
    assert [error.uncertain for error in errors] == [True] * 3
    await watcher.settles(0)
    await watcher.ask("DEL", "nosuch")


@needs_fork
def test_a_child_opens_its_own(redis_url: str, unique: str) -> None:
    code = """
async def main():
    assert await spawn(client.ping)
    mine = now()
    assert len(mine) == 1
    there, say = os.pipe()
    pid = os.fork()
    if not pid:
        async def child():
            assert muxes() == []
            for n in range(50):
                assert await spawn(lambda: client.echo(str(n))) == str(n).encode()
            fresh = redis.Redis.from_url(URL)
            names = [c["id"] for c in fresh.client_list() if c["name"] == NAME]
            assert len(names) == 2 and mine[0] in names, names
            fresh.close()
        try:
            asyncio.run(child())
            os._exit(42)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    for n in range(50):
        assert await spawn(lambda: client.echo(str(-n))) == str(-n).encode()
        await asyncio.sleep(0.002)
    loop = asyncio.get_running_loop()
    status = await loop.run_in_executor(None, os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status[1]) == 42, status
    assert await spawn(client.ping)
    assert now() == mine
asyncio.run(main())
settles([])
client.close()
admin.close()
"""
    done = run(_HEAD.format(url=redis_url, name=unique) + code)
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_a_child_does_not_hold_its_parents_connection(
    redis_url: str, unique: str
) -> None:
    code = """
async def main():
    assert await spawn(client.ping)
    go, say = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(say)
        os.read(go, 1)  # lives on, and does nothing
        os._exit(0)
    os.close(go)
    try:
        assert await spawn(client.ping)
        await celery_async_bridge.aclose()
        settles([])
        assert await spawn(client.ping)
    finally:
        os.close(say)
        os.waitpid(pid, 0)
asyncio.run(main())
settles([])
client.close()
admin.close()
"""
    done = run(_HEAD.format(url=redis_url, name=unique) + code)
    assert (done.returncode, done.stderr) == (0, "")
