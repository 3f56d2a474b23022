from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from redis.exceptions import ResponseError

from celery_async_bridge.core.taps import Outcome, outcome
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.drivers.redis.owed import Reply
from tests.unit.drivers.redis.help import a_mux, one


async def test_it_is_read_when_it_is_there_and_before(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        reply = Reply(mux, mux.push(one("LPUSH", unique, "x")), True)
        assert reply.failed is None
        assert await spawn(reply.read) == 1
        assert reply.failed is False
        assert await spawn(reply.read) == 1


async def test_an_error_is_known_before_it_is_raised(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        await mux.push(one("SET", unique, "no list"))
        reply = Reply(mux, mux.push(one("LPUSH", unique, "x")), True)
        await mux.push(one("PING"))
        assert reply.failed is True
        with pytest.raises(ResponseError):
            await spawn(reply.read)
        reply.leave()


async def test_an_error_that_is_left_is_not_reported(pool: Any, unique: str) -> None:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with a_mux(pool) as mux:
        await mux.push(one("SET", unique, "no list"))
        reply = Reply(mux, mux.push(one("LPUSH", unique, "x")), True)
        await mux.push(one("PING"))
        reply.leave()
        del reply
        gc.collect()
    assert told == []


async def test_left_before_the_write_it_is_not_sent(pool: Any, unique: str) -> None:
    async with a_mux(pool) as mux:
        known = Outcome()
        outcome.set(known)
        reply = Reply(mux, mux.push(one("LPUSH", unique, "x")), True)
        reply.leave()
        assert await mux.push(one("LLEN", unique)) == 0
        assert not known.uncertain


@pytest.mark.parametrize("delivers", [True, False])
async def test_left_after_the_write_its_outcome_is_unknown(
    pool: Any, unique: str, delivers: bool
) -> None:
    async with a_mux(pool) as mux:
        known = Outcome()
        outcome.set(known)
        sent = mux.push(one("LPUSH", unique, "x"))
        await asyncio.sleep(0)
        assert mux.has_written(sent)
        Reply(mux, sent, delivers).leave()
        assert sent.cancelled()
        assert await mux.push(one("LLEN", unique)) == 1
        assert known.uncertain is delivers
