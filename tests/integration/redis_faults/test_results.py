"""Waits while the server, the subscription or those who wait are hurt."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from celery_async_bridge.drivers.redis import feeds, results
from celery_async_bridge.drivers.redis.ear import ears
from tests.redis_servers import (
    MASTER,
    RedisServer,
    eventually,
    redis_server,
    sentinel_set,
)
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
#: Questions to a server wait, and so leave the loop.
aside = asyncio.to_thread


def waits(app: Any, ids: list[str], timeout: float = 60) -> list[asyncio.Task[Any]]:
    """Wait for results."""
    return [
        asyncio.ensure_future(app.AsyncResult(one).aget(timeout=timeout)) for one in ids
    ]


async def store(app: Any, task_id: str, value: Any) -> None:
    """Store a result, as a worker does."""
    await app.backend.astore_result(task_id, value, "SUCCESS")


def subscribed(server: RedisServer) -> int:
    """To how many channels somebody is subscribed."""
    with server.admin() as admin:
        # Not those of sentinels.
        return len(admin.pubsub_channels("*celery-task-meta-*"))


async def all_subscribed(server: RedisServer, count: int) -> None:
    """Wait until there are so many subscriptions, and give the looks time to end."""
    await aside(eventually, lambda: subscribed(server) == count)
    await asyncio.sleep(0.1)


async def nothing_left(server: RedisServer) -> None:
    """Wait until nobody listens, and no task is left."""
    await all_subscribed(server, 0)
    await until(lambda: not asyncio.all_tasks() - {asyncio.current_task()})
    assert sum(len(found) for found in feeds._local.peek()) == 0
    assert sum(len(ear) for ear in ears()) == 0


def commands(server: RedisServer, name: str) -> int:
    """How often a command was called."""
    with server.admin() as admin:
        stats = admin.info("commandstats")
    return int(stats.get(f"cmdstat_{name}", {}).get("calls", 0))


async def test_a_burst_subscribes_in_one_command(
    server: RedisServer, make_app: MakeApp
) -> None:
    app = make_app(server.url, server.url)
    ids = [uuid() for _ in range(400)]
    tasks = waits(app, ids)
    await all_subscribed(server, len(ids))
    assert await aside(commands, server, "subscribe") == 1
    # Their one look follows the subscription.
    assert await aside(eventually, lambda: commands(server, "mget")) == 1
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await nothing_left(server)
    assert await aside(commands, server, "unsubscribe") == 1


def kill_subscriptions(server: RedisServer) -> None:
    """Cut them, and nothing else."""
    with server.admin() as admin:
        admin.client_kill_filter(_type="pubsub")


async def test_cut_subscriptions_miss_nothing(
    server: RedisServer, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SAFETY", 1000.0)
    app = make_app(server.url, server.url)
    ids = [uuid() for _ in range(300)]
    tasks = waits(app, ids)
    await all_subscribed(server, len(ids))
    for number, one in enumerate(ids):
        if number % 30 == 7:
            await aside(kill_subscriptions, server)
        await store(app, one, number)
    assert await asyncio.gather(*tasks) == list(range(len(ids)))
    assert ears()[0].opened > 3
    await nothing_left(server)


@pytest.fixture
def strict_server() -> Iterator[RedisServer]:
    """A server that does not wait for slow readers."""
    limit = {"client-output-buffer-limit": "pubsub 200kb 100kb 1"}
    with redis_server(options=limit) as found:
        yield found


async def test_a_reader_that_was_too_slow_is_cut_and_misses_nothing(
    strict_server: RedisServer, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SAFETY", 1000.0)
    server = strict_server
    app, writer = make_app(server.url, server.url), make_app(server.url, server.url)
    ids = [uuid() for _ in range(10)]
    tasks = waits(app, ids)
    await all_subscribed(server, len(ids))

    def write() -> None:
        for number, one in enumerate(ids):
            writer.backend.store_result(one, str(number) * 1_000_000, "SUCCESS")

    await aside(write)
    found = await asyncio.gather(*tasks)
    assert [value[0] for value in found] == [str(n) for n in range(10)]
    assert ears()[0].opened > 1
    await nothing_left(server)


async def test_a_server_that_was_away_misses_nothing(
    durable_server: RedisServer, make_app: MakeApp
) -> None:
    server = durable_server
    app = make_app(server.url, server.url)
    ids = [uuid() for _ in range(60)]
    tasks = waits(app, ids)
    await all_subscribed(server, len(ids))
    for one in ids[:20]:
        await store(app, one, one)
    await aside(server.kill)
    await asyncio.sleep(0.3)
    late = waits(app, ids[:10])  # while it is away
    await aside(server.start)
    with server.admin() as admin:
        # Before anybody may have subscribed again, and without a word about it.
        key = app.backend.get_key_for_task(ids[30])
        meta = {"status": "SUCCESS", "result": ids[30], "task_id": ids[30]}
        await aside(admin.set, key, app.backend.encode(meta))
    for one in ids[20:]:
        if one != ids[30]:
            await store(app, one, one)
    assert await asyncio.gather(*tasks) == ids
    assert await asyncio.gather(*late) == ids[:10]
    await nothing_left(server)


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Let the server do nothing for a while."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_deadlines_hold_while_the_server_is_silent(
    server: RedisServer, make_app: MakeApp
) -> None:
    app = make_app(server.url, server.url)
    old, young = [uuid() for _ in range(20)], [uuid() for _ in range(20)]
    patient = waits(app, old)
    impatient = waits(app, old, timeout=1)
    await all_subscribed(server, len(old))
    began = time.monotonic()
    with stopped(server):
        impatient += waits(app, young, timeout=1.5)
        ends = await asyncio.gather(*impatient, return_exceptions=True)
        assert {type(end) for end in ends} == {CeleryTimeoutError}
        assert time.monotonic() - began < 10
    for one in old:
        await store(app, one, one)
    assert await asyncio.gather(*patient) == old
    await nothing_left(server)


async def test_who_may_not_subscribe_looks_instead(
    server: RedisServer, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SAFETY", 1000.0)
    with server.admin() as admin:
        rules = ["on", ">secret", "~*", "+@all", "resetchannels"]
        await aside(admin.execute_command, "ACL", "SETUSER", "deaf", *rules)
    url = server.url.replace("//", "//deaf:secret@")
    deaf, other = make_app(server.url, url), make_app(server.url, server.url)
    ids = [uuid() for _ in range(20)]
    await store(other, ids[0], ids[0])
    tasks = waits(deaf, ids)
    assert await tasks[0] == ids[0]
    await asyncio.sleep(0.2)
    for one in ids[1:]:
        await store(other, one, one)
    assert await asyncio.gather(*tasks) == ids
    # No attempt after the other either.
    assert [ear.opened for ear in ears() if ear.opened] == [1]
    await nothing_left(server)


async def test_a_thousand_cancelled_waits(
    server: RedisServer, make_app: MakeApp
) -> None:
    app = make_app(server.url, server.url)
    dice = random.Random(11)
    shared = [uuid() for _ in range(20)]
    patient = waits(app, shared)
    await all_subscribed(server, len(shared))
    sockets = await aside(server.connections)

    async def impatient(one: str) -> None:
        (task,) = waits(app, [one])
        await asyncio.sleep(dice.random() * 0.2)
        task.cancel()
        await asyncio.wait({task})

    # Half of them leave a channel on which another stays.
    chosen = (dice.choice([uuid(), dice.choice(shared)]) for _ in range(1000))
    await asyncio.gather(*map(impatient, chosen))
    await all_subscribed(server, len(shared))
    assert len(await aside(server.connections)) == len(sockets)
    assert not any(task.done() for task in patient)
    for one in shared:
        await store(app, one, one)
    assert await asyncio.gather(*patient) == shared
    assert ears()[0].opened == 1
    await nothing_left(server)


async def store_at_last(app: Any, task_id: str) -> None:
    """Store a result as soon as the sentinels vouch for the new master."""
    for _ in range(100):
        try:
            return await store(app, task_id, task_id)
        except redis.ConnectionError:  # upstream does not retry what it reads first
            await asyncio.sleep(0.1)
    raise AssertionError("no master")


@pytest.mark.slow
def test_waits_outlive_their_master(make_app: MakeApp) -> None:
    with sentinel_set() as found:
        app = make_app(
            "memory://",
            found.url,
            result_backend_transport_options={"master_name": MASTER},
        )
        ids = [uuid() for _ in range(60)]

        async def main() -> None:
            tasks = waits(app, ids)
            await all_subscribed(found.first, len(ids))
            for one in ids[:20]:
                await store(app, one, one)
            await aside(eventually, found.in_step)
            await aside(found.first.kill)
            await aside(eventually, lambda: found.master() is found.second, 30)
            for one in ids[20:]:
                await store_at_last(app, one)
            assert await asyncio.gather(*tasks) == ids
            await nothing_left(found.second)

        asyncio.run(main())


_WRITER = """
import sys
from celery import Celery
url, name = sys.argv[1:]
app = Celery(name, broker="memory://", set_as_current=False)
app.conf.update(result_backend=url)
app.conf.result_backend_transport_options = {"global_keyprefix": f"{name}:"}
ids = sys.stdin.read().split()
print("ready", flush=True)
for one in ids:
    app.backend.store_result(one, one, "SUCCESS")
"""


@contextmanager
def writer(server: RedisServer, name: str, ids: list[str]) -> Iterator[None]:
    """Have a stock process store results, from now on."""
    words = [sys.executable, "-c", _WRITER, server.url, name]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("\n".join(ids))
        process.stdin.close()
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.stdout.close()
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def store_all(server: RedisServer, app: Any, ids: list[str]) -> None:
    """Store results in one go, without a word about it."""
    with server.admin() as admin, admin.pipeline(transaction=False) as pipe:
        for one in ids:
            meta = {"status": "SUCCESS", "result": one, "task_id": one}
            key = app.backend.get_key_for_task(one)
            pipe.set(key, app.backend.encode(meta))
        pipe.execute()


async def test_ten_thousand_race_with_their_writer(
    server: RedisServer, make_app: MakeApp, unique: str
) -> None:
    app = make_app(server.url, server.url)
    ids = [uuid() for _ in range(10_000)]
    early, late = ids[::2], ids[1::2]
    await aside(store_all, server, app, early)
    before = set(threading.enumerate())
    starting = writer(server, unique, late)
    await aside(starting.__enter__)
    tasks = waits(app, ids, timeout=100)
    assert await asyncio.gather(*tasks) == ids
    mine = {one for one in threading.enumerate() if one.name.startswith("celery-")}
    assert mine <= before
    connections = [
        one for one in await aside(server.connections) if one["cmd"] != "publish"
    ]
    assert len(connections) <= 3, connections
    assert [ear.opened for ear in ears()] == [1]
    await aside(starting.__exit__, None, None, None)
    await nothing_left(server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_listens_with_a_connection_of_its_own(
    server: RedisServer, make_app: MakeApp
) -> None:
    app = make_app(server.url, server.url)
    theirs, ours = uuid(), uuid()

    async def wait_for(task_id: str, opened: int) -> None:
        (task,) = waits(app, [task_id])
        await asyncio.sleep(0.1)
        await store(app, task_id, task_id)
        assert await task == task_id
        assert [ear.opened for ear in ears()] == [opened]

    async def main() -> None:
        (task,) = waits(app, [ours])
        await all_subscribed(server, 1)
        pid = os.fork()
        if not pid:
            os._exit(_child(lambda: wait_for(theirs, 1)))
        status = (await aside(os.waitpid, pid, 0))[1]
        assert os.waitstatus_to_exitcode(status) == 0
        await store(app, ours, ours)
        assert await task == ours
        assert [ear.opened for ear in ears()] == [1]

    asyncio.run(main())
    eventually(lambda: not server.connections())


def _child(main: Callable[[], Any]) -> int:
    """Run a loop in a child that was forked in the middle of another."""
    asyncio._set_running_loop(None)
    try:
        asyncio.run(main())
    except BaseException as error:
        sys.stderr.write(f"in the child: {error!r}\n")
        return 1
    return 0
