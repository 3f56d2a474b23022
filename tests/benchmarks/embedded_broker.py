"""`embedded://`, in memory and in a file, against others: throughput, weight, trips.

    python -m tests.benchmarks.embedded_broker [messages] [queued]

Others: `memory://` with the bridge's driver (the row that counts), in the bridge's
threads (as a transport that has no driver), and without the bridge: each call in a
thread, or at once, which suits nothing but memory. RabbitMQ, with confirms, if one
listens where the tests look for it; taskiq's InMemoryBroker, if it is installed. And
Kombu alone, over a channel that does nothing: its part of all of them.

Microseconds per message of CPU (of this process) and of wall time, the best of some
rounds, and how many times those of `embedded://` both together take; round trips in
milliseconds, the median; CPU and threads of a broker that ten connections wait for.
`queued` messages (10,000) are weighed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection, Queue

import celery_async_bridge
from celery_async_bridge.core import registry
from celery_async_bridge.embedded import places
from celery_async_bridge.embedded.broker import Broker
from celery_async_bridge.embedded.channel import Channel
from celery_async_bridge.embedded.message import Message
from celery_async_bridge.embedded.session import Session
from tests import servers
from tests.benchmarks.nothing import kombu_alone

__all__ = ("flow", "main")

ROUNDS = 3
CROWD = 100
#: CPU and wall seconds.
Spent = tuple[float, float]


@contextmanager
def _clocked(spent: list[Spent]) -> Iterator[None]:
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    spent.append((time.process_time() - cpu, time.perf_counter() - wall))


async def flow(url: str, count: int, consumers: int = 1) -> list[Spent]:
    """Return what publishing and consuming takes, for one message each.

    Arguments:
        url: of the broker.
        count: of the messages.
        consumers: connections that consume at once.
    """
    options = {"confirm_publish": True} if url.startswith("amqp") else {}
    queue = Queue("bridge-bench", routing_key="bridge-bench", auto_delete=True)
    got, spent = 0, list[Spent]()

    def received(body: Any, message: Any) -> None:
        nonlocal got
        got += 1
        message.ack()

    async def consume() -> None:
        mine: Any = Connection(url)
        async with mine, mine.Consumer([queue], callbacks=[received]):
            while got < count:
                try:
                    await mine.adrain_events(timeout=0.1)
                except TimeoutError:
                    continue

    connection: Any = Connection(url, transport_options=options)
    async with connection:
        producer = connection.Producer()
        await producer.amaybe_declare(queue)
        with _clocked(spent):
            for number in range(count):
                await producer.apublish({"n": number}, routing_key=queue.name)
        with _clocked(spent):
            await asyncio.gather(*(consume() for _ in range(consumers)))
    return [(cpu / count, wall / count) for cpu, wall in spent]


@contextmanager
def _no_driver(scheme: str) -> Iterator[None]:
    """Have the bridge take its threads for a scheme."""
    driver = registry.schemes()[scheme]
    registry.forget(scheme)
    try:
        yield
    finally:
        registry.register(scheme, driver)


async def _bare(url: str, count: int, call: Callable[..., Any]) -> list[Spent]:
    """Do what `flow` does as one does it without the bridge.

    Arguments:
        url: of the broker.
        count: of the messages.
        call: makes a sync call; what it returns is awaited if it can be.
    """
    queue, got, spent = (
        Queue("stock-bench", routing_key="stock-bench"),
        0,
        list[Spent](),
    )

    def received(body: Any, message: Any) -> None:
        nonlocal got
        got += 1
        message.ack()

    with Connection(url) as connection:
        producer = connection.Producer()
        with connection.Consumer([queue], callbacks=[received]):
            with _clocked(spent):
                for number in range(count):
                    body = {"n": number}
                    made = call(producer.publish, body, routing_key=queue.name)
                    if inspect.iscoroutine(made):
                        await made
            with _clocked(spent):
                while got < count:
                    made = call(connection.drain_events, timeout=30)
                    if inspect.iscoroutine(made):
                        await made
    return [(cpu / count, wall / count) for cpu, wall in spent]


def _at_once(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return fn(*args, **kwargs)


async def _idle(url: str, seconds: float = 2.0) -> tuple[float, float, int]:
    """Return the CPU share of a loop that does nothing, of ten waits, and threads."""

    async def share() -> float:
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        return (time.process_time() - cpu) / (time.perf_counter() - wall)

    async def wait(number: int) -> None:
        mine: Any = Connection(url)
        async with mine, mine.Consumer([Queue(f"idle-{number}")]):
            await mine.adrain_events()

    nothing, threads = await share(), threading.active_count()
    waits = [asyncio.create_task(wait(number)) for number in range(10)]
    await asyncio.sleep(0.5)
    found = await share()
    more = threading.active_count() - threads
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return nothing, found, more


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


async def _taskiq(count: int) -> float:
    """Return the same for taskiq's broker in the process, which keeps no message."""
    broker: Any = import_module("taskiq").InMemoryBroker()
    spent: list[float] = []

    async def add(x: int, y: int) -> int:
        return x + y

    task = broker.task("add")(add)
    await broker.startup()
    for number in range(count):
        begun = time.perf_counter()
        sent = await task.kiq(number, 1)
        await sent.wait_result(check_interval=0.001)
        spent.append(time.perf_counter() - begun)
    await broker.shutdown()
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


def _rabbit() -> str | None:
    url = os.environ.get("BRIDGE_TEST_AMQP_URL", servers.LOCAL_AMQP)
    return url if servers.speaks_amqp(url) else None


def _best(rounds: list[list[Spent]]) -> str:
    """Return CPU and wall of publishing and of consuming, each of the best round."""
    cells = []
    for one in zip(*rounds, strict=True):
        cpu, wall = (min(values) * 1e6 for values in zip(*one, strict=True))
        cells.append(f"{cpu:7.1f} {wall:7.1f}")
    return "  ".join(cells)


def _together(rounds: list[list[Spent]]) -> Spent:
    """Return what a message takes, published and consumed, in the best round."""
    cpu = min(sum(spent[0] for spent in one) for one in rounds)
    return cpu, min(sum(spent[1] for spent in one) for one in rounds)


def main(count: int, queued: int) -> None:
    """Measure and print."""
    celery_async_bridge.install()
    with tempfile.TemporaryDirectory() as folder:
        file = f"embedded://{Path(folder).resolve()}/bench.db"
        urls = {"memory": "memory://", "embedded": "embedded://bench", "file": file}
        if (rabbit := _rabbit()) is not None:
            urls["rabbitmq"] = rabbit
        print(
            f"{'':22}{'publish: cpu wall':>15}  {'consume: cpu wall':>15}"
            f"  {'times: cpu wall':>15}"
        )
        rounds: dict[str, list[list[Spent]]] = {}
        for _ in range(ROUNDS):
            for name, url in urls.items():
                found = asyncio.run(flow(url, count))
                rounds.setdefault(name, []).append(found)
                if name == "rabbitmq":
                    continue  # a hundred connections take longer than the messages
                found = asyncio.run(flow(url, count, CROWD))
                rounds.setdefault(f"{name}, {CROWD} consume", []).append(found)
            with _no_driver("memory"):
                found = asyncio.run(flow("memory://", count))
            rounds.setdefault("memory, our threads", []).append(found)
            for name, call in (("to_thread", asyncio.to_thread), ("sync", _at_once)):
                found = asyncio.run(_bare("memory://", count, call))
                rounds.setdefault(f"memory, {name}", []).append(found)
            rounds.setdefault("kombu alone", []).append(kombu_alone(count))
        own = _together(rounds["embedded"])
        for name, all_of_it in rounds.items():
            pairs = zip(_together(all_of_it), own, strict=True)
            times = " ".join(f"{one / other:7.1f}" for one, other in pairs)
            print(f"{name:22}{_best(all_of_it)}  {times}")
        for name in ("embedded", "file"):
            nothing, waiting, threads = asyncio.run(_idle(urls[name]))
            said = (
                f"{nothing:.2%} CPU without, {waiting:.2%} and {threads} threads with"
            )
            print(f"{name:22}idle: {said} ten connections that wait")
        for name, url in urls.items():
            backend = {"memory": "cache+memory://", "rabbitmq": "rpc://"}.get(name, url)
            trip = asyncio.run(_round_trips(url, backend, 200))
            print(f"{name:22}round trip {trip * 1e3:.2f} ms")
        places.forget(file.removeprefix("embedded://"))
    if find_spec("taskiq"):
        trip = asyncio.run(_taskiq(200))
        print(f"{'taskiq, in memory':22}round trip {trip * 1e3:.2f} ms")
    print(f"{'embedded':22}{_weight(queued):.0f} bytes for a queued message")


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:3]]
    main(*(given + [2000, 10_000][len(given) :]))
