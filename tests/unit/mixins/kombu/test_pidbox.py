"""Remote control over awaited calls, against a sync node in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import kombu
import kombu.pidbox
import pytest
import redis
from kombu.transport import virtual

from celery_async_bridge.core.conversation import Interrupted
from celery_async_bridge.core.lane import lanes
from celery_async_bridge.mixins.kombu import _replies
from tests.unit.core.help import until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Mailbox: Any = kombu.pidbox.Mailbox


@contextmanager
def node(
    url: str, namespace: str, name: str = "one", pause: float = 0
) -> Iterator[Any]:
    """A node that answers `echo` from a thread of its own."""
    over, up = threading.Event(), threading.Event()
    seen: list[Any] = []

    def echo(state: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        time.sleep(pause)
        return kwargs

    def serve() -> None:
        with Connection(url) as connection:
            mailbox = Mailbox(namespace, connection=connection, type="fanout")
            serving = mailbox.Node(name, channel=connection.channel())
            serving.handlers["echo"] = echo
            with serving.listen():
                with suppress(socket.timeout):  # redis subscribes when it drains
                    connection.drain_events(timeout=0.1)
                up.set()
                while not over.is_set():
                    with suppress(socket.timeout):
                        connection.drain_events(timeout=0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert up.wait(30)
        yield seen
    finally:
        over.set()
        thread.join(30)


@pytest.fixture(params=["memory", "redis", "amqp"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
    else:
        yield str(request.getfixturevalue(f"{request.param}_url"))


async def test_call_gives_the_replies(broker_url: str, unique: str) -> None:
    got: list[Any] = []
    with node(broker_url, unique), Connection(broker_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        replies = await mailbox.acall(
            ["one"], "echo", {"x": 1}, timeout=30, callback=got.append
        )
        assert replies == [{"one": {"x": 1}}] == got
        # Again: by now it may be another thread that sends.
        assert await mailbox.acall(["one"], "echo", {"x": 2}, timeout=30) == [
            {"one": {"x": 2}}
        ]


async def test_concurrent_calls_keep_their_replies(
    broker_url: str, unique: str
) -> None:
    with node(broker_url, unique, pause=0.05), Connection(broker_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        calls = [
            mailbox.acall(["one"], "echo", {"x": number}, timeout=30)
            for number in range(6)
        ]
        replies = await asyncio.wait_for(asyncio.gather(*calls), 60)
    assert replies == [[{"one": {"x": number}}] for number in range(6)]


async def test_a_late_reply_is_not_taken_for_the_next_call(
    broker_url: str, unique: str
) -> None:
    """Upstream may give the next call the reply queue of the last one."""
    mailbox = Mailbox(unique, type="fanout")
    # Closing a Redis connection takes as long as the blocking pop that is under way.
    rounds = 2 if broker_url.startswith("redis") else 10
    with node(broker_url, unique, pause=0.05):
        for number in range(rounds):
            with Connection(broker_url) as connection:
                hasty = mailbox(connection).acall
                await hasty(["one"], "echo", {"x": -1}, timeout=0.01)
            with Connection(broker_url) as connection:
                patient = mailbox(connection).acall
                replies = await patient(["one"], "echo", {"x": number}, timeout=30)
            assert replies == [{"one": {"x": number}}]


@pytest.mark.parametrize("where", ["queue_bind", "basic_publish"])
async def test_a_call_that_ends_before_it_waits_leaves_nothing(
    redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Nor does a reply of a node that has looked up the queue while it was bound."""
    prefix, queues = f"{unique}:", list[str]()
    options = {"global_keyprefix": prefix}
    with (
        redis.Redis.from_url(redis_url) as client,
        Connection(redis_url, transport_options=options) as connection,
    ):
        originals = {
            name: getattr(virtual.Channel, name)
            for name in ("queue_bind", "basic_publish")
        }

        def bound(self: Any, queue: str, *args: Any, **kwargs: Any) -> None:
            queues.append(queue)
            originals["queue_bind"](self, queue, *args, **kwargs)
            if where == "queue_bind":
                raise Interrupted

        def published(self: Any, *args: Any, **kwargs: Any) -> None:
            originals["basic_publish"](self, *args, **kwargs)
            raise Interrupted

        def push(seconds: float) -> None:
            assert client.keys(f"{prefix}*reply*") == []
            client.rpush(f"{prefix}{queues[0]}", "late")

        mailbox = Mailbox(unique, connection=connection, type="fanout")
        with monkeypatch.context() as patch:
            patch.setattr(virtual.Channel, "queue_bind", bound)
            patch.setattr(virtual.Channel, "basic_publish", published)
            patch.setattr(_replies, "_pause", push)
            with pytest.raises(Interrupted):
                await mailbox.acall(["nobody"], "echo", timeout=30)
        assert len(queues) == 1
        assert await asyncio.to_thread(client.keys, f"{prefix}*reply*") == []


async def test_concurrent_calls_on_two_connections(redis_url: str, unique: str) -> None:
    with (
        node(redis_url, unique, pause=0.3),
        Connection(redis_url) as first,
        Connection(redis_url) as second,
    ):
        mailbox = Mailbox(unique, type="fanout")
        replies = await asyncio.gather(
            mailbox(first).amulti_call("echo", {"x": 1}, limit=1, timeout=30),
            mailbox(second).amulti_call("echo", {"x": 2}, limit=1, timeout=30),
        )
    assert list(replies) == [[{"one": {"x": 1}}], [{"one": {"x": 2}}]]


async def test_multi_call_without_limit_ends_at_its_timeout(
    broker_url: str, unique: str
) -> None:
    with node(broker_url, unique), Connection(broker_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        assert await mailbox.amulti_call("echo", {"x": 1}, timeout=2) == [
            {"one": {"x": 1}}
        ]


async def test_cast_and_abcast_reach_the_node(broker_url: str, unique: str) -> None:
    with node(broker_url, unique) as seen, Connection(broker_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        assert await mailbox.acast(["one"], "echo", {"x": 1}) is None
        await mailbox.acast(["another"], "echo", {"x": 2})
        await mailbox.aabcast("echo", {"x": 3})
        for _ in range(1000):
            if len(seen) == 2:
                break
            await asyncio.sleep(0.02)
    assert seen == [{"x": 1}, {"x": 3}]


async def test_publish_then_collect_use_one_reply_queue(
    redis_url: str, unique: str
) -> None:
    with node(redis_url, unique), Connection(redis_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        for number in range(3):
            ticket = f"{unique}-{number}"
            await mailbox._apublish("echo", {"x": number}, reply_ticket=ticket)
            # The next call shall not run in the thread of the last one.
            held = threading.Event()
            busy = asyncio.ensure_future(_occupy(connection, held))
            await asyncio.sleep(0.02)
            replies = await mailbox._acollect(ticket, limit=1, timeout=30)
            held.set()
            await busy
            assert replies == [{"one": {"x": number}}]


async def _occupy(connection: Any, until: threading.Event) -> None:
    from celery_async_bridge.core.offload import offload
    from celery_async_bridge.core.route import Route
    from celery_async_bridge.mixins.kombu._route import broker_of

    await offload(Route((broker_of(connection),)), lambda: until.wait(60))


async def test_call_for_ever_can_be_cancelled(redis_url: str, unique: str) -> None:
    with Connection(redis_url) as connection:
        mailbox = Mailbox(unique, connection=connection, type="fanout")
        call = asyncio.ensure_future(mailbox.acall(["nobody"], "echo"))
        await asyncio.sleep(0.3)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 30)
        await until(lambda: not any(lane.stuck for lane in lanes().values()))
        # The connection is at our disposal again.
        await mailbox.acast(["nobody"], "echo")


async def test_destination_must_be_a_list(unique: str) -> None:
    with Connection("memory://") as connection:
        mailbox = Mailbox(unique, connection=connection)
        with pytest.raises(ValueError, match="destination"):
            await mailbox.acall("one", "echo")


async def test_node_is_served_from_the_loop(unique: str) -> None:
    """Node and caller on one loop, the node's connection drained by coroutines."""
    with Connection("memory://") as ours, Connection("memory://") as theirs:
        mailbox = Mailbox(unique, type="fanout")
        serving = mailbox(theirs).Node("one", channel=theirs.channel())
        serving.handlers["echo"] = lambda state, **kwargs: kwargs
        consumer = await serving.alisten()
        assert await serving.ahandle("echo", {"x": 0}) == {"x": 0}
        drained = asyncio.ensure_future(theirs.adrain_events(timeout=30))
        replies = await mailbox(ours).acall(["one"], "echo", {"x": 1}, timeout=30)
        await drained
        consumer.cancel()
    assert replies == [{"one": {"x": 1}}]


async def test_producer_of_a_mailbox(unique: str) -> None:
    with Connection("memory://") as connection:
        mailbox = Mailbox(unique, connection=connection)
        async with mailbox.aproducer_or_acquire(channel=connection.channel()) as made:
            assert hasattr(made, "publish")
