"""A broker in a file, killed with SIGKILL at random points, again and again.

    python -m tests.benchmarks.embedded_kills [kills] [seed]

Each process first looks whether everything is there that the one before it had been
promised, then publishes, consumes, acknowledges and rejects until it is killed. In a
file of its own it writes down what was confirmed, what it got, and what it was about to
acknowledge. Prints how many were confirmed, lost, and held without coming back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu import Connection, Exchange, Producer, Queue

import celery_async_bridge

__all__ = ("Verdict", "main", "rounds")

DEAD = Queue("dead", durable=True)
WORK = Queue(
    "work",
    Exchange("work", "topic"),
    routing_key="work.#",
    queue_arguments={
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    },
)
SENDERS = 8
#: Seconds until a process is killed that has begun to work.
LONGEST = 0.5


@dataclass
class Verdict:
    """What one process found of what another one had been promised."""

    confirmed: int = 0
    acked: int = 0
    held: int = 0
    lost: int = 0
    missing: int = 0
    unmarked: int = 0


# -- the process that is killed ----------------------------------------------


class _Log:
    """What has happened, in a file that outlives its process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, number: int) -> None:
        os.write(self._file, f"{what} {number}\n".encode())


def _events(path: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"confirmed": set(), "got": set(), "acks": set()}
    if path.exists():
        for line in path.read_text().splitlines():
            what, _, number = line.partition(" ")
            found[what].add(int(number))
    return found


def _left(connection: Any) -> dict[int, bool]:
    """Take everything there is; return whether each is marked as redelivered."""
    channel, found = connection.channel(), {}
    for queue in (WORK, DEAD):
        bound = queue(channel)
        bound.declare()
        while (message := bound.get(no_ack=True)) is not None:
            found[message.payload] = message.delivery_info["redelivered"]
    channel.close()
    return found


def _judged(events: dict[str, set[int]], left: dict[int, bool]) -> Verdict:
    held = events["got"] - events["acks"]
    return Verdict(
        confirmed=len(events["confirmed"]),
        acked=len(events["acks"]),
        held=len(held),
        lost=len(events["confirmed"] - events["acks"] - left.keys()),
        missing=len((held & events["confirmed"]) - left.keys()),
        unmarked=sum(not left[number] for number in held & left.keys()),
    )


async def _send(connection: Any, log: _Log, numbers: Iterator[int]) -> None:
    producer = connection.Producer()
    for number in numbers:
        await producer.apublish(number, exchange="work", routing_key="work.async")
        log.note("confirmed", number)


def _send_blocking(url: str, log: _Log, numbers: Iterator[int]) -> None:
    with Connection(url) as connection:
        producer = Producer(connection)
        for number in numbers:
            producer.publish(number, exchange="work", routing_key="work.sync")
            log.note("confirmed", number)


async def _work(url: str, log: _Log, first: int) -> None:
    luck = random.Random(first)

    def received(number: int, message: Any) -> None:
        log.note("got", number)
        fate = luck.random()
        if fate < 0.3:
            log.note("acks", number)
            message.ack()
        elif fate < 0.4:
            message.reject()  # to the queue of the dead
        elif fate < 0.5:
            message.requeue()

    connection: Any = Connection(url)
    async with connection, connection.Consumer([WORK], callbacks=[received]):
        thread = threading.Thread(
            target=_send_blocking,
            args=(url, log, iter(range(first, first + 1_000_000, SENDERS + 1))),
            daemon=True,
        )
        thread.start()
        for sender in range(1, SENDERS + 1):
            numbers = iter(range(first + sender, first + 1_000_000, SENDERS + 1))
            asyncio.ensure_future(_send(connection, log, numbers))  # noqa: RUF006
        print("working", flush=True)
        while True:
            await connection.adrain_events(timeout=30)


def _child(folder: Path, turn: int) -> None:
    celery_async_bridge.install()
    url = f"embedded://{folder}/broker.db"
    with Connection(url) as connection:
        verdict = _judged(_events(folder / f"log-{turn - 1}"), _left(connection))
    print(json.dumps(vars(verdict)), flush=True)
    asyncio.run(_work(url, _Log(folder / f"log-{turn}"), turn * 1_000_000))


# -- the one that kills ------------------------------------------------------


@contextmanager
def _process(folder: Path, turn: int) -> Iterator[Any]:
    command = [sys.executable, "-m", __spec__.name, "child", str(folder), str(turn)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def rounds(kills: int, seed: int, folder: Path) -> Iterator[Verdict]:
    """Kill a process as often as asked; yield what the next one finds each time."""
    luck, nap = random.Random(seed), threading.Event()
    for turn in range(1, kills + 2):
        with _process(folder, turn) as process:
            verdict = Verdict(**json.loads(process.stdout.readline()))
            if turn > 1:
                yield verdict
            if turn <= kills:
                assert process.stdout.readline() == "working\n"
                nap.wait(luck.uniform(0.0, LONGEST))


def main(kills: int, seed: int) -> None:
    """Kill, and print what was found."""
    total = Verdict()
    with tempfile.TemporaryDirectory() as folder:
        for number, found in enumerate(rounds(kills, seed, Path(folder)), 1):
            for name, value in vars(found).items():
                setattr(total, name, getattr(total, name) + value)
            print(f"{number:4} {found}", flush=True)
    print(f"{kills} kills: {total}")
    if total.lost or total.missing or total.unmarked:
        raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        numbers = [int(one) for one in sys.argv[1:3]]
        main(*(numbers + [100, 1][len(numbers) :]))
