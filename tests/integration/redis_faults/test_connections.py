"""One connection per loop and URL, and none when the loop is done with it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import celery_async_bridge
from tests.redis_servers import RedisServer, eventually, redis_server
from tests.sweep import ignore_unclosed

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
#: Questions to a server wait, and so leave the loop.
aside = asyncio.to_thread


async def _sends(app: Any, count: int) -> None:
    await asyncio.gather(*(app.add.adelay(n, n) for n in range(count)))


def _count(server: RedisServer) -> int:
    return len(server.connections())


def _opened(admin: Any) -> int:
    """How many connections there ever were."""
    return int(admin.info("stats")["total_connections_received"])


def _none_left(server: RedisServer, base: int = 0) -> None:
    gc.collect()
    eventually(
        lambda: _count(server) <= base, what=f"nobody left: {server.connections()}"
    )


@pytest.mark.parametrize("count", [1, 50, 2000])
def test_one_under_any_concurrency(
    server: RedisServer, make_app: MakeApp, count: int
) -> None:
    app = make_app(server.url)

    async def main(admin: Any) -> None:
        before = await aside(_opened, admin)
        await _sends(app, count)
        assert await aside(_opened, admin) - before == 1
        assert await aside(_count, server) == 1
        await celery_async_bridge.aclose()
        await aside(_none_left, server)
        await _sends(app, 5)
        assert await aside(_count, server) == 1

    with server.admin() as admin:
        asyncio.run(main(admin))
    _none_left(server)


def test_two_apps_share_it(server: RedisServer, make_app: MakeApp) -> None:
    """Broker and result backend, too, where their URL is the same."""
    one, two = make_app(server.url, server.url), make_app(server.url)

    async def main() -> None:
        await asyncio.gather(_sends(one, 100), _sends(two, 100))
        result = await one.add.adelay(1, 1)
        await asyncio.gather(*(result.astate() for _ in range(50)))
        found = await aside(server.connections)
        assert len(found) == 1, found
        await celery_async_bridge.aclose()
        await aside(_none_left, server)

    asyncio.run(main())


def test_another_database_is_another_url(
    server: RedisServer, make_app: MakeApp
) -> None:
    apps = [make_app(server.url[:-1] + str(db)) for db in (0, 1, 2)]

    async def main() -> None:
        await asyncio.gather(*(_sends(app, 100) for app in apps))
        found = await aside(server.connections)
        assert sorted(one["db"] for one in found) == ["0", "1", "2"]

    asyncio.run(main())
    _none_left(server)


def test_none_after_the_loop(server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(server.url)
    asyncio.run(_sends(app, 50))
    _none_left(server)


def test_none_after_a_loop_that_failed(server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(server.url)

    async def main() -> None:
        await _sends(app, 50)
        pending = [asyncio.ensure_future(app.add.adelay(1, 1)) for _ in range(500)]
        await asyncio.sleep(0.02)
        assert pending
        raise RuntimeError("on purpose")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="on purpose"):
            asyncio.run(main())
    _none_left(server)


@pytest.mark.filterwarnings("ignore:loop is closed:ResourceWarning")
def test_none_after_a_loop_that_nobody_tidies(
    server: RedisServer, make_app: MakeApp
) -> None:
    """`loop.close()` without `shutdown_asyncgens`, as old code does it."""
    app = make_app(server.url)
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_sends(app, 20))
        loop.close()
        del loop
    # Those that lost their loop are closed by the collector, or by the next loop.
    asyncio.run(_sends(app, 1))
    _none_left(server)


def test_fifty_loops(server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(server.url)
    with server.admin() as admin:
        before = _opened(admin)
        for _ in range(50):
            asyncio.run(_sends(app, 5))
            eventually(lambda: _count(server) == 0, what="nobody left")
        # Each look at who is connected is a connection, too.
        looks = int(admin.info("commandstats")["cmdstat_client|list"]["calls"])
        assert _opened(admin) - before - looks == 50


def test_eight_threads_with_a_loop_each(server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(server.url)
    barrier = threading.Barrier(9)
    errors: list[BaseException] = []

    async def main() -> None:
        await _sends(app, 100)
        for _ in range(2):
            await aside(barrier.wait, 30)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        barrier.wait(30)
        assert _count(server) == 8
        barrier.wait(30)
    except BaseException:
        barrier.abort()
        raise
    finally:
        for thread in threads:
            thread.join(30)
    assert not errors, errors
    with server.admin() as admin:
        assert sum(admin.llen(key) for key in admin.scan_iter(_type="list")) == 800
    _none_left(server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork(server: RedisServer, make_app: MakeApp) -> None:
    """A child opens its own; it neither uses nor ends its parent's."""
    app = make_app(server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_sends(app, 10))
    [parents] = server.connections()
    read, write = os.pipe()
    go, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(asyncio.wait_for(_stays(app, write, go), 20))
            code = 0
        finally:
            os._exit(code)
    try:
        assert os.read(read, 1) == b"1", "the child could not send"
        found = {one["id"]: one for one in server.connections()}
        assert len(found) == 2, found
        assert found[parents["id"]]["addr"] == parents["addr"]
        loop.run_until_complete(_sends(app, 10))
        assert parents["id"] in {one["id"] for one in server.connections()}
        loop.run_until_complete(celery_async_bridge.aclose())
        # Though the child has a copy of the descriptor.
        eventually(lambda: _count(server) == 1, what="the parent's is closed")
        loop.run_until_complete(_sends(app, 10))
        assert _count(server) == 2
    finally:
        os.write(end, b"1")
        _, status = os.waitpid(pid, 0)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        for descriptor in (read, write, go, end):
            os.close(descriptor)
    assert os.waitstatus_to_exitcode(status) == 0
    _none_left(server)


async def _stays(app: Any, write: int, go: int) -> None:
    await _sends(app, 10)
    os.write(write, b"1")
    end = time.monotonic() + 15
    os.set_blocking(go, False)
    while time.monotonic() < end:
        try:
            if os.read(go, 1):
                return
        except BlockingIOError:
            await asyncio.sleep(0.02)


def test_a_child_that_does_not_send(server: RedisServer, make_app: MakeApp) -> None:
    """Its end leaves the parent's connection as it was."""
    app = make_app(server.url)

    async def main() -> None:
        await _sends(app, 10)
        [before] = await aside(server.connections)
        pid = os.fork()
        if pid == 0:
            gc.collect()
            os._exit(0)
        await aside(os.waitpid, pid, 0)
        await _sends(app, 10)
        [after] = await aside(server.connections)
        assert before["id"] == after["id"]

    asyncio.run(main())


def test_a_server_that_closed_an_idle_connection(make_app: MakeApp) -> None:
    with redis_server(options={"timeout": "1"}) as server:
        app = make_app(server.url)

        async def main() -> None:
            await _sends(app, 5)
            await aside(eventually, lambda: _count(server) == 0)
            await _sends(app, 5)

        asyncio.run(main())
