# The stubs of kombu do not know its private state.
# mypy: disable-error-code="import-untyped"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import kombu
import kombu.transport.redis
import pytest
import redis

from celery_async_bridge.drivers.redis.bury import bury
from tests.unit.drivers.redis.help import call

LONG = 600.0


@pytest.fixture(params=["prefixed", "plain"])
def prefix(request: pytest.FixtureRequest, unique: str) -> str:
    return f"{unique}:" if request.param == "prefixed" else ""


@pytest.fixture
def channel(redis_url: str, prefix: str) -> Iterator[Any]:
    options = {"global_keyprefix": prefix}
    with kombu.Connection(redis_url, transport_options=options) as found:
        yield found.default_channel


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


async def _buried(
    channel: Any, server: Any, key: str, queue: str, seconds: float
) -> int:
    """Bury a bound queue with messages; the time to live that a late one then has."""
    for one in (key, f"{key}\x06\x169"):
        await asyncio.to_thread(server.rpush, one, "early")
    table = f"{key.removesuffix(queue)}_kombu.binding.{queue}.x"
    member = f"rk\x06\x16\x06\x16{queue}"
    assert await asyncio.to_thread(server.sadd, table, member) == 1
    await call(partial(bury, channel, (queue, f"{queue}.x", "rk"), seconds))
    assert not await asyncio.to_thread(server.exists, table)
    assert not await asyncio.to_thread(server.exists, f"{key}\x06\x169")
    assert b"early" not in await asyncio.to_thread(server.lrange, key, 0, -1)
    there = await asyncio.to_thread(server.exists, key)
    assert there == bool(seconds)
    await asyncio.to_thread(server.lpush, key, "late")
    return int(await asyncio.to_thread(server.pttl, key))


async def test_what_comes_late_goes_by_itself(
    channel: Any, server: Any, prefix: str, unique: str
) -> None:
    key = f"{prefix}{unique}"
    left = await _buried(channel, server, key, unique, LONG)
    assert 0 < left <= LONG * 1000
    await _buried(channel, server, key, unique, 0.3)
    for _ in range(300):
        if not await asyncio.to_thread(server.exists, key):
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the queue is still there")


async def test_it_goes_where_kombu_does_not_prefix_the_command(
    channel: Any,
    server: Any,
    prefix: str,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cls: Any = kombu.transport.redis.PrefixedStrictRedis
    older = [one for one in cls.PREFIXED_SIMPLE_COMMANDS if one != "PEXPIRE"]
    mixin: Any = kombu.transport.redis.GlobalKeyPrefixMixin
    monkeypatch.setattr(mixin, "PREFIXED_SIMPLE_COMMANDS", older)
    left = await _buried(channel, server, f"{prefix}{unique}", unique, LONG)
    assert 0 < left <= LONG * 1000


async def test_nothing_need_linger(
    channel: Any, server: Any, prefix: str, unique: str
) -> None:
    left = await _buried(channel, server, f"{prefix}{unique}", unique, 0)
    assert left == -1  # nobody has told the late one to go
