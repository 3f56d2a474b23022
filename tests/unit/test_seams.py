"""Upstream attributes that act differently inside a bridge call, and only there."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import kombu
import kombu.utils.functional
import pytest
from kombu.exceptions import OperationalError

import celery_async_bridge
from celery_async_bridge.core.conversation import Conversation, Interrupted
from celery_async_bridge.core.dispatch import perform, talk
from celery_async_bridge.core.offload import converse, offload
from celery_async_bridge.core.trampoline import spawn
from celery_async_bridge.core.turn import turn_of
from celery_async_bridge.mixins.kombu._route import route_of
from celery_async_bridge.seams import seams
from tests.unit.core.help import SOON, closed_port, route, until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
functional: Any = kombu.utils.functional


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    celery_async_bridge.install()
    yield
    celery_async_bridge.uninstall()


def test_every_row_says_where_it_acts_and_why() -> None:
    rows = seams()
    assert rows
    for row in rows:
        assert row.scope in set("abcd"), row
        assert row.reason.strip(), row
        assert len(row.reason) < 100, row
        inspect.getattr_static(row.owner, row.name)


def test_uninstall_restores_every_row() -> None:
    celery_async_bridge.uninstall()
    try:
        rows = seams()
        before = [vars(row.owner).get(row.name) for row in rows]
        celery_async_bridge.install()
        during = [vars(row.owner)[row.name] for row in rows]
        celery_async_bridge.uninstall()
        after = [vars(row.owner).get(row.name) for row in rows]
        assert all(a is b for a, b in zip(before, after, strict=True))
        assert not any(a is b for a, b in zip(before, during, strict=True))
    finally:
        celery_async_bridge.install()


# -- waiting for events ------------------------------------------------------


def consumer(connection: Any, name: str, got: list[Any]) -> Any:
    queue = Queue(name, auto_delete=True, durable=False)

    def take(body: Any, message: Any) -> None:
        got.append(body)
        message.ack()

    return connection.Consumer([queue], callbacks=[take])


def test_sync_code_waits_as_ever(redis_url: str, unique: str) -> None:
    """Outside of a bridge call one wait is one wait, with the caller's timeout."""
    with Connection(redis_url) as connection, consumer(connection, unique, []):
        waits: list[Any] = []
        transport = connection.transport
        real = transport.drain_events

        def drain_events(connection: Any, timeout: float | None = None) -> Any:
            waits.append(timeout)
            return real(connection, timeout=timeout)

        transport.drain_events = drain_events
        with pytest.raises(socket.timeout):
            connection.drain_events(timeout=0.35)
        assert waits == [0.35]
        waits.clear()

        async def in_slices() -> None:
            with pytest.raises(socket.timeout):
                await converse(
                    route_of(connection), lambda: connection.drain_events(timeout=1)
                )

        asyncio.run(in_slices())
        assert len(waits) >= 3
        assert max(waits) <= 0.1


@pytest.mark.parametrize("broker_url", ["memory", "redis", "amqp"], indirect=True)
async def test_a_wait_in_a_bridge_call_delivers_and_can_be_cancelled(
    broker_url: str, unique: str
) -> None:
    got: list[Any] = []
    with Connection(broker_url) as connection, consumer(connection, unique, got):
        way = route_of(connection)
        with Connection(broker_url) as other, other.Producer() as producer:
            producer.publish(1, routing_key=unique)
        for _ in range(5):  # on Redis a subscription may be an event, too
            if not got:
                await talk(way, lambda: connection.drain_events(timeout=5))
        assert got == [1]
        began = time.monotonic()
        with pytest.raises(socket.timeout):
            await talk(way, lambda: connection.drain_events(timeout=0.2))
        assert 0.19 < time.monotonic() - began < 20
        waiting = asyncio.ensure_future(talk(way, connection.drain_events))
        await asyncio.sleep(0.15)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 30)


async def test_a_wait_holds_the_turn_of_what_it_drains(
    redis_url: str, unique: str
) -> None:
    """Also when the call knew nothing of the connection: a consumer program's clone."""
    with Connection(redis_url) as connection, consumer(connection, unique, []):
        turn = turn_of(connection)
        waiting = asyncio.ensure_future(converse(route(), connection.drain_events))
        await until(lambda: turn._held)
        for _ in range(3):
            await turn.acquire(timeout=20)  # between two slices
            turn.release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await turn.acquire(timeout=20)


async def test_unknown_arguments_are_upstreams_affair() -> None:
    with Connection("memory://") as connection:
        for call in (talk, perform):
            with pytest.raises(TypeError):
                await call(
                    route_of(connection), lambda: connection.drain_events(unknown=1)
                )
        with pytest.raises(TypeError):
            connection.drain_events(unknown=1)


# -- pauses ------------------------------------------------------------------


def test_a_pause_of_sync_code_is_a_pause() -> None:
    began = time.monotonic()
    functional.sleep(0.05)
    assert time.monotonic() - began >= 0.05


async def test_a_pause_on_the_loop_is_awaited() -> None:
    began = time.monotonic()
    await asyncio.gather(*(spawn(lambda: functional.sleep(0.5)) for _ in range(20)))
    assert 0.5 <= time.monotonic() - began < 5  # one after the other: 10


def test_a_pause_in_a_thread_ends_when_the_caller_leaves() -> None:
    talk = Conversation()
    talk.leave()
    with talk.entered(), pytest.raises(Interrupted):
        functional.sleep(10)


async def test_retries_of_a_call_that_is_over_end() -> None:
    """A publish that is tried for ever, to a port where nobody listens."""
    url = f"amqp://guest:guest@127.0.0.1:{closed_port()}//"
    tries: list[float] = []
    with Connection(url) as connection:
        way = route_of(connection)

        def publish() -> None:
            with connection.Producer() as producer:
                producer.publish(
                    1,
                    retry=True,
                    retry_policy={
                        "interval_start": 0.05,
                        "errback": lambda exc, interval: tries.append(interval),
                    },
                )

        with pytest.raises(OperationalError) as caught:
            await asyncio.wait_for(offload(way, publish, deadline=SOON), 30)
        assert getattr(caught.value, "uncertain", None) is True
        assert tries
        # The connection is free again as soon as the thread has stopped retrying.
        await offload(way, lambda: None, deadline=30)
        seen = len(tries)
        await asyncio.sleep(0.3)
        assert len(tries) == seen


# -- pools -------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[Any]:
    with Connection("memory://") as connection:
        pool = connection.Pool(limit=1)
        yield pool
        pool.force_close_all()


async def test_an_empty_pool_does_not_block_the_loop(pool: Any) -> None:
    held = pool.acquire()
    ticks: list[int] = []

    async def tick() -> None:
        for number in range(20):
            ticks.append(number)
            await asyncio.sleep(0.005)
        held.release()  # only now there is one: a blocked loop would never come here

    ticking = asyncio.ensure_future(tick())
    got = await spawn(lambda: pool.acquire(block=True))
    await ticking
    assert len(ticks) == 20
    got.release()


async def test_an_empty_pool_times_out_as_upstreams(pool: Any) -> None:
    held = pool.acquire()
    with pytest.raises(pool.LimitExceeded):
        await spawn(lambda: pool.acquire(block=True, timeout=0.05))
    with pytest.raises(pool.LimitExceeded):
        await spawn(lambda: pool.acquire())
    with pytest.raises(pool.LimitExceeded):
        pool.acquire(block=True, timeout=0.05)
    held.release()
    (await spawn(lambda: pool.acquire(block=True))).release()


def test_a_thread_waits_in_the_pool_as_ever(pool: Any) -> None:
    held = pool.acquire()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(block=True)))
    thread.start()
    time.sleep(0.05)
    assert not got
    held.release()
    thread.join(30)
    got[0].release()
