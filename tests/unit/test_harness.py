"""The test harness itself: async tests, server choice, leftovers."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from celery import Celery

from tests import servers
from tests.leftovers import leftovers

_LOOPS: list[asyncio.AbstractEventLoop] = []


@pytest.mark.parametrize("turn", [1, 2])
async def test_async_test_runs_in_a_fresh_loop(turn: int) -> None:
    loop = asyncio.get_running_loop()
    assert not loop.get_debug()
    assert loop not in _LOOPS
    _LOOPS.append(loop)
    assert len(_LOOPS) == turn


class TestInClass:
    async def test_async_method_gets_fixtures(self, unique: str) -> None:
        await asyncio.sleep(0)
        assert unique.isalnum()


def test_async_test_can_fail(request: pytest.FixtureRequest) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    item = SimpleNamespace(
        obj=fails, funcargs={}, _fixtureinfo=SimpleNamespace(argnames=())
    )
    with pytest.raises(ZeroDivisionError):
        request.config.hook.pytest_pyfunc_call(pyfuncitem=item)


def test_apps_of_one_address_have_different_reply_queues() -> None:
    addresses: set[int] = set()
    names: set[str] = set()
    for turn in range(1, 100):
        app = Celery("harness", set_as_current=False)
        names.add(app.thread_oid)
        addresses.add(id(app))
        assert len(names) == turn
        del app
        gc.collect()
        if len(addresses) < turn:
            return
    pytest.skip("no address was used twice")


def test_unique_differs(unique: str, request: pytest.FixtureRequest) -> None:
    assert unique not in str(request.node.nodeid)


@pytest.mark.parametrize(
    ("broker_url", "scheme"),
    [("memory", "memory"), ("sqla+sqlite://", "sqla+sqlite"), ("redis", "redis")],
    indirect=["broker_url"],
)
def test_broker_url_by_name(
    broker_url: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    assert broker_url.startswith(scheme + "://")
    marked = request.node.get_closest_marker("redis") is not None
    assert marked == (scheme == "redis")


def test_redis_database_is_our_own(redis_url: str) -> None:
    assert redis_url.rsplit("/", 1)[1].isdigit()
    assert servers.with_db("redis://h:1/3") == "redis://h:1/3"
    assert servers.with_db("redis://h:1") == f"redis://h:1/{servers.REDIS_DB}"


def test_amqp_queue_is_deleted(
    amqp_url: str, amqp_queue: Callable[[str], str], unique: str
) -> None:
    from kombu import Connection, Queue

    name = amqp_queue("x")
    assert name == f"{unique}.x"
    with Connection(amqp_url) as connection:
        Queue(name, channel=connection.channel()).declare()


def test_vhost_is_quoted() -> None:
    assert servers.with_vhost("amqp://u:p@h:1//", "a/b") == "amqp://u:p@h:1/a%2Fb"


def test_required_rejects_unknown_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_TEST_REQUIRE", "redis, amqp")
    assert servers.required() == {"redis", "amqp"}
    monkeypatch.setenv("BRIDGE_TEST_REQUIRE", "rabbit")
    with pytest.raises(ValueError, match="rabbit"):
        servers.required()


def test_leftovers_names_a_busy_thread() -> None:
    go = threading.Event()
    busy = threading.Thread(target=go.wait, name="busy-for-a-test")
    busy.start()
    try:
        assert "thread busy-for-a-test" in leftovers(grace=0)
    finally:
        go.set()
        busy.join()
    assert "thread busy-for-a-test" not in leftovers(grace=1)


def test_leftovers_ignores_an_idle_worker_but_not_a_busy_one() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="pool-for-a-test") as pool:
        pool.submit(int).result()
        assert not [
            name
            for name in leftovers(grace=0.5)
            if name.startswith("thread pool-for-a")
        ]
        started = threading.Event()

        def work() -> None:
            started.set()
            go.wait()

        pool.submit(work)
        started.wait()
        try:
            assert "thread pool-for-a-test_0" in leftovers(grace=0)
        finally:
            go.set()


@pytest.mark.skipif(sys.platform != "linux", reason="children are read from /proc")
def test_leftovers_names_a_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = leftovers(grace=0)
    finally:
        child.communicate()
    assert any(name.startswith(f"process {child.pid} ") for name in found)
