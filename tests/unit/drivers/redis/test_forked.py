from __future__ import annotations

import asyncio
import os
import socket

import pytest

from celery_async_bridge.drivers.redis import forked
from celery_async_bridge.drivers.redis.forked import let_go_in_children
from tests.unit.drivers.redis.help import Pools, a_mux

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


async def test_a_child_lets_go_and_the_parent_does_not() -> None:
    near, far = socket.socketpair()
    with far:
        near.setblocking(False)
        far.settimeout(5)
        loop = asyncio.get_running_loop()
        _, writer = await asyncio.open_connection(sock=near)
        let_go_in_children(writer)
        number = near.fileno()
        pid = os.fork()
        if not pid:
            # The number is taken, by something that is not a socket.
            os._exit(42 if _is_null(number) else 1)
        status = await loop.run_in_executor(None, os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 42
        writer.write(b"still here")
        assert await loop.run_in_executor(None, far.recv, 99) == b"still here"
        writer.close()
        # No child holds it open, so its end is heard.
        assert await loop.run_in_executor(None, far.recv, 99) == b""


def _is_null(number: int) -> bool:
    return os.fstat(number).st_rdev == os.stat(os.devnull).st_rdev


async def test_every_connection_is_on_the_list(pools: Pools) -> None:
    async with a_mux(pools.make()) as mux:
        assert mux._link in forked._connected
