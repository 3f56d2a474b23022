# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.transport.memory import Channel

from celery_async_bridge.core import conversation
from celery_async_bridge.core.conversation import Conversation, Interrupted
from celery_async_bridge.drivers.memory.broker import drain
from celery_async_bridge.drivers.memory.notify import BOARD
from tests.unit.core.help import until


class Reader:
    """A connection that consumes from queues and keeps what comes.

    Where upstream's own loop waited, it would look every 40 seconds.
    """

    def __init__(self, *queues: str, prefetch: int = 0, no_ack: bool = True) -> None:
        self.got: list[Any] = []
        self.messages: list[Any] = []
        self.connection = Connection(
            "memory://", transport_options={"polling_interval": 40}
        )
        channel = self.connection.channel()
        self.consumer = Consumer(
            channel,
            [Queue(name, Exchange(""), name) for name in queues],
            no_ack=no_ack,
            on_message=self._keep,
        )
        if prefetch:
            self.consumer.qos(prefetch_count=prefetch)
        self.consumer.consume()

    def _keep(self, message: Any) -> None:
        self.got.append(message.payload)
        self.messages.append(message)


def put(queue: str, body: Any, connection: Connection | None = None) -> None:
    with Producer((connection or Connection("memory://")).channel()) as producer:
        producer.publish(body, exchange="", routing_key=queue)


async def test_what_lies_there_is_delivered_at_once(unique: str) -> None:
    reader = Reader(unique)
    put(unique, 1)
    await drain(reader.connection, 0)
    assert reader.got == [1]


async def test_nothing_came(unique: str) -> None:
    reader = Reader(unique)
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError):
            await drain(reader.connection, timeout)
    assert len(BOARD) == 0


async def test_a_message_from_another_thread_wakes_the_loop_at_once(
    unique: str,
) -> None:
    reader = Reader(unique)
    timer = threading.Timer(0.05, put, (unique, 1))
    timer.start()
    await asyncio.wait_for(drain(reader.connection, 60), 20)
    timer.join()
    assert reader.got == [1]


async def test_one_message_wakes_one_of_a_thousand(unique: str) -> None:
    looks = 0
    readers = [Reader(f"{unique}.{i}") for i in range(1000)]
    waits = [asyncio.ensure_future(drain(r.connection, 60)) for r in readers]
    await asyncio.sleep(0)
    while len(BOARD) < 2000:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    original = Channel.drain_events

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal looks
        looks += 1
        return original(self, *args, **kwargs)

    Channel.drain_events = counted  # type: ignore[method-assign]
    try:
        put(f"{unique}.500", 1)
        await asyncio.wait_for(waits[500], 20)
    finally:
        del Channel.drain_events
    assert readers[500].got == [1]
    assert looks <= 2
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert len(BOARD) == 0


async def test_every_message_of_a_shared_queue_finds_a_reader(unique: str) -> None:
    readers = [Reader(unique) for _ in range(20)]

    async def read(reader: Reader) -> None:
        while True:
            await drain(reader.connection, None)

    tasks = [asyncio.ensure_future(read(reader)) for reader in readers]
    await asyncio.sleep(0.01)

    def send() -> None:
        for number in range(300):
            put(unique, number)

    thread = threading.Thread(target=send)
    thread.start()
    await until(lambda: sum(len(reader.got) for reader in readers) >= 300, 60)
    thread.join()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(n for reader in readers for n in reader.got) == list(range(300))


async def test_a_cancelled_reader_hands_its_wake_up_on(unique: str) -> None:
    first, second = Reader(unique), Reader(unique)
    one = asyncio.ensure_future(drain(first.connection, 60))
    two = asyncio.ensure_future(drain(second.connection, 60))
    await asyncio.sleep(0.01)
    put(unique, 1)  # rings for the first
    one.cancel()
    await asyncio.wait_for(two, 20)
    assert (first.got, second.got) == ([], [1])


async def test_an_ack_opens_the_credit_of_a_waiting_reader(unique: str) -> None:
    reader = Reader(unique, prefetch=1, no_ack=False)
    put(unique, 1)
    put(unique, 2)
    await drain(reader.connection, 20)
    waiting = asyncio.ensure_future(drain(reader.connection, 60))
    await asyncio.sleep(0.05)
    assert reader.got == [1]
    threading.Thread(target=reader.messages[0].ack).start()
    await asyncio.wait_for(waiting, 20)
    assert reader.got == [1, 2]


async def test_readers_without_credit_do_not_wake_each_other(unique: str) -> None:
    full = [Reader(unique, prefetch=1, no_ack=False) for _ in range(2)]
    for reader in full:
        put(unique, 0)
        await drain(reader.connection, 20)
    waits = [asyncio.ensure_future(drain(r.connection, 60)) for r in full]
    await asyncio.sleep(0.01)
    free = Reader(unique)
    last = asyncio.ensure_future(drain(free.connection, 60))
    await asyncio.sleep(0.01)
    put(unique, 1)
    await asyncio.wait_for(last, 20)
    assert free.got == [1]
    for wait in waits:
        wait.cancel()


async def test_a_requeued_message_wakes_another_reader(unique: str) -> None:
    first, second = Reader(unique, no_ack=False), Reader(unique)
    put(unique, 1)
    await drain(first.connection, 20)
    waiting = asyncio.ensure_future(drain(second.connection, 60))
    await asyncio.sleep(0.01)
    first.messages[0].requeue()
    await asyncio.wait_for(waiting, 20)
    assert second.got == [1]


async def test_a_new_consumer_is_noticed_by_a_running_drain(unique: str) -> None:
    reader = Reader(f"{unique}.a")
    waiting = asyncio.ensure_future(drain(reader.connection, 60))
    await asyncio.sleep(0.01)
    reader.consumer.add_queue(Queue(f"{unique}.b", Exchange(""), f"{unique}.b"))
    reader.consumer.consume()
    await asyncio.sleep(0.01)
    put(f"{unique}.b", 2)
    await asyncio.wait_for(waiting, 20)
    assert reader.got == [2]


async def test_a_fanout_wakes_every_queue(unique: str) -> None:
    exchange = Exchange(unique, "fanout")
    with Connection("memory://") as connection:
        readers = []
        for name in ("a", "b"):
            reader = Reader()
            queue = Queue(f"{unique}.{name}", exchange)
            reader.consumer.add_queue(queue)
            reader.consumer.consume()
            readers.append(reader)
        waits = [asyncio.ensure_future(drain(r.connection, 60)) for r in readers]
        await asyncio.sleep(0.01)
        Producer(connection.channel(), exchange).publish(3)
        await asyncio.wait_for(asyncio.gather(*waits), 20)
    assert [reader.got for reader in readers] == [[3], [3]]


async def test_an_error_of_a_callback_is_the_callers(unique: str) -> None:
    reader = Reader(unique)

    def fail(_: Any) -> None:
        raise TimeoutError("of the callback")

    reader.consumer.on_message = fail
    put(unique, 1)
    with pytest.raises(TimeoutError, match="of the callback"):
        await drain(reader.connection, 5)


def test_a_conversation_wakes_at_once(
    unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "SLICE", 40)
    reader, talk, took = Reader(unique), Conversation(), []

    def listen() -> None:
        with talk.entered():
            reader.connection.drain_events(timeout=60)
            took.append(time.perf_counter())

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.15)
    start = time.perf_counter()
    put(unique, 1)
    thread.join(60)
    assert took[0] - start < 20


def test_a_conversation_ends_when_its_caller_leaves(unique: str) -> None:
    reader, talk, ended = Reader(unique), Conversation(), []

    def listen() -> None:
        try:
            with talk.entered():
                reader.connection.drain_events(timeout=60)
        except Interrupted:
            ended.append(True)

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.05)
    talk.leave()
    thread.join(30)
    assert ended == [True]
    assert len(BOARD) == 0


def test_a_plain_thread_still_gets_what_is_there(unique: str) -> None:
    reader = Reader(unique)
    put(unique, 1)
    reader.connection.drain_events(timeout=1)
    assert reader.got == [1]
    with pytest.raises(socket.timeout):
        reader.connection.drain_events(timeout=0.01)
