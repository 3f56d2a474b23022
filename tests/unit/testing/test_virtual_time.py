"""`virtual_time()`: nothing here waits for the time that it says passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError
from kombu import Connection, Queue

import celery_async_bridge
from celery_async_bridge.testing import virtual_time
from tests.unit.drivers.embedded.help import place

HOUR = 3600.0


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    """Install for the tests of a module."""
    celery_async_bridge.install()
    yield
    celery_async_bridge.uninstall()


@pytest.fixture
def url() -> Iterator[str]:
    """A place of one's own."""
    with place() as url:
        yield url


def _add(x: int, y: int) -> int:
    return x + y


async def _sleep(seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "limited"
    return "slept"


def _app(url: str) -> Any:
    app: Any = Celery("virtual", broker=url, backend=url, set_as_current=False)
    app.task(_add, name="add", shared=False)
    app.task(_sleep, name="sleep", shared=False)
    app.task(_add, name="seldom", shared=False, rate_limit="1/h")
    return app


def test_messages_live_and_die_by_the_clock(url: str) -> None:
    dead = Queue("dead", durable=False)
    brief, later = (
        Queue(name, message_ttl=HOUR, queue_arguments=_dead(to))
        for name, to in (("brief", "later"), ("later", "dead"))
    )
    with virtual_time() as clock, Connection(url) as connection:
        channel: Any = connection.channel()
        for queue in (brief, later, dead):
            queue(channel).declare()
        connection.Producer().publish("x", routing_key="brief")

        def sizes() -> list[int]:
            return [
                channel.queue_declare(name, passive=True).message_count
                for name in ("brief", "later", "dead")
            ]

        clock.advance(HOUR - 1)
        assert sizes() == [1, 0, 0]
        clock.advance(1)
        assert sizes() == [0, 1, 0]
        # One jump over both of the times that are left.
        connection.Producer().publish("y", routing_key="brief")
        clock.advance(2 * HOUR)
        assert sizes() == [0, 0, 2]


def _dead(to: str) -> dict[str, Any]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to}


def test_countdown_in_sync_code(url: str) -> None:
    app = _app(url)
    with virtual_time() as clock, Connection(url) as connection:
        app.tasks["add"].apply_async((1, 2), countdown=HOUR)
        queue: Any = app.amqp.queues["celery"](connection.channel())
        assert queue.get() is None
        clock.advance(HOUR - 0.001)
        assert queue.get() is None
        clock.advance(0.001)
        assert queue.get() is not None


def test_countdown_expiry_limits_and_sleeps_of_tasks(url: str) -> None:
    app = _app(url)
    add, sleep = app.tasks["add"], app.tasks["sleep"]

    async def main() -> None:
        async with (
            virtual_time() as clock,
            celery_async_bridge.embedded_worker(app),
        ):
            later = await add.aapply_async((1, 1), countdown=HOUR)
            expired = await add.aapply_async((2, 2), countdown=HOUR, expires=HOUR / 2)
            await clock.aadvance(HOUR - 1)
            assert not await later.aready()
            await clock.aadvance(1)
            assert await later.aget(timeout=30) == 2
            with pytest.raises(TaskRevokedError):
                await expired.aget(timeout=30)

            long = await sleep.aapply_async((10 * HOUR,))
            short = await sleep.aapply_async((10 * HOUR,), soft_time_limit=HOUR)
            # Until both have begun, and ended: the worker takes its real time.
            while not (await long.aready() and await short.aready()):
                await clock.aadvance(HOUR)
            assert await short.aget(timeout=30) == "limited"
            assert await long.aget(timeout=30) == "slept"

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < HOUR / 60


def test_rate_limit(url: str) -> None:
    app = _app(url)
    seldom = app.tasks["seldom"]

    async def main() -> None:
        async with (
            virtual_time() as clock,
            celery_async_bridge.embedded_worker(app),
        ):
            first, second = await seldom.adelay(1, 1), await seldom.adelay(2, 2)
            assert await first.aget(timeout=30) == 2
            assert not await second.aready()
            while not await second.aready():
                await clock.aadvance(HOUR)
            assert await second.aget(timeout=30) == 4

    asyncio.run(main())


def test_results_expire(url: str) -> None:
    app = _app(url)
    app.conf.result_expires = 60
    backend = app.backend
    with virtual_time() as clock:
        backend.store_result("id", 1, "SUCCESS")
        clock.advance(59)
        assert backend.get_state("id") == "SUCCESS"
        clock.advance(1)
        assert backend.get_state("id") == "PENDING"


def test_time_goes_on_afterwards(url: str) -> None:
    app = _app(url)
    with virtual_time() as clock:
        clock.advance(HOUR)
        assert clock.time() - time.time() > HOUR - 60
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(-1)
        with (
            pytest.raises(RuntimeError, match="in effect already"),
            virtual_time(),
        ):
            pass
        app.tasks["add"].apply_async((1, 1), countdown=0.05)

    async def main() -> None:
        async with celery_async_bridge.embedded_worker(app):
            result = await app.tasks["add"].aapply_async((1, 2), countdown=0.05)
            assert await result.aget(timeout=30) == 3

    asyncio.run(main())
    assert abs(app.now().timestamp() - time.time()) < 60
