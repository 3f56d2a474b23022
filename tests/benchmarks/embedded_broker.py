"""`embedded://` against `memory://`: publish, consume, round trip, and what waits.

    python -m tests.benchmarks.embedded_broker [messages]

CPU microseconds per message, one after the other, round by round; the round trip is in
milliseconds of wall time. Read the ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import tracemalloc
from typing import Any

from celery import Celery
from kombu import Connection, Queue

import celery_async_bridge
from celery_async_bridge.embedded.broker import Broker
from celery_async_bridge.embedded.channel import Channel
from celery_async_bridge.embedded.message import Message
from celery_async_bridge.embedded.session import Session

__all__ = ("main",)

ROUNDS = 3
PLACES = {"memory://": "cache+memory://", "embedded://bench": "embedded://bench"}


async def _flow(url: str, count: int) -> tuple[float, float]:
    """Return the CPU of publishing and of consuming one message."""
    connection: Any = Connection(url)
    queue = Queue("bench", routing_key="bench")
    got = 0

    def received(body: Any, message: Any) -> None:
        nonlocal got
        got += 1
        message.ack()

    async with connection:
        producer: Any = connection.Producer()
        async with connection.Consumer([queue], callbacks=[received]):
            begun = time.process_time()
            for number in range(count):
                await producer.apublish({"n": number}, routing_key="bench")
            sent = time.process_time()
            while got < count:
                await connection.adrain_events(timeout=30)
            done = time.process_time()
    return (sent - begun) / count, (done - sent) / count


async def _round_trips(url: str, backend: str, count: int) -> float:
    """Return the median of the seconds from a send to its result."""
    app: Any = Celery("bench", broker=url, backend=backend, set_as_current=False)

    async def add(x: int, y: int) -> int:
        return x + y

    task: Any = app.task(add, name="add", shared=False)
    spent = []
    async with celery_async_bridge.embedded_worker(app):
        for number in range(count):
            begun = time.perf_counter()
            await (await task.adelay(number, 1)).aget(timeout=30)
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def _weight(count: int) -> float:
    """Return the bytes of one queued message with a payload of 100."""
    session = Session(Broker())
    broker, channel = session.broker, Channel(session, 1)
    broker.declare_queue(
        "q",
        session,
        passive=False,
        durable=False,
        exclusive=False,
        auto_delete=False,
        arguments={},
    )
    tracemalloc.start()
    for number in range(count):
        body = b"%0100d" % number
        with broker.turn():
            channel.publish(Message("", ("q",), {"delivery_mode": 2}, body), False)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / count


def main(count: int) -> None:
    """Measure and print."""
    celery_async_bridge.install()
    for _ in range(ROUNDS):
        for url in PLACES:
            publish, consume = asyncio.run(_flow(url, count))
            print(f"{url:18} publish {publish * 1e6:6.1f} consume {consume * 1e6:6.1f}")
    for url, backend in PLACES.items():
        trip = asyncio.run(_round_trips(url, backend, 300))
        print(f"{url:18} round trip {trip * 1e3:.2f} ms")
    print(f"{'embedded':18} {_weight(count * 10):.0f} bytes for a queued message")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
