"""Consumers that are killed while messages flow, beside stock ones that live on.

    python -m tests.benchmarks.consuming.kills URL [--kills N] [--count N] [--seed N]

Every consumer notes what it gets before it acknowledges it, and after that that it
has; a note survives its process. Says what was lost, and what was delivered again
although its acknowledgement had been awaited; 1 if there is any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import kombu
import redis

import celery_async_bridge

__all__ = ("main",)

_NATIVE = 3
#: Seconds without a note after which the rest is lost.
_QUIET = 20.0


@dataclass
class _Run:
    url: str
    notes: Path
    prefix: str = field(default_factory=lambda: f"kills-{uuid4().hex}:")

    @property
    def options(self) -> dict[str, Any]:
        return {
            "global_keyprefix": self.prefix,
            "visibility_timeout": 2,
            "unacked_mutex_expire": 1,
            "unacked_restore_interval": 0.3,
        }

    def connect(self) -> Any:
        return kombu.Connection(self.url, transport_options=self.options)

    def note(self, what: str, body: Any) -> None:
        # One write into a file that is only added to: it is there or not.
        line = f"{time.monotonic()} {os.getpid()} {what} {body}\n".encode()
        out = os.open(self.notes, os.O_WRONLY | os.O_APPEND)
        os.write(out, line)
        os.close(out)

    def read(self) -> list[list[str]]:
        return [line.split() for line in self.notes.read_text().splitlines()]


def _queue() -> Any:
    return kombu.Queue("q", kombu.Exchange(""), "q")


def _work() -> float:
    return random.random() * 0.002


def _stock(run: _Run) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))

    def receive(body: Any, message: Any) -> None:
        run.note("got", body)
        time.sleep(_work())
        message.ack()
        run.note("acked", body)

    with (
        run.connect() as connection,
        connection.Consumer([_queue()], callbacks=[receive]),
    ):
        while not ended:
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)


async def _callbacks(run: _Run) -> None:
    def receive(body: Any, message: Any) -> None:
        run.note("got", body)
        time.sleep(_work())
        message.ack()
        # Not noted: it may be written behind, with those of later messages.

    async with (
        run.connect() as connection,
        connection.aconsumer([_queue()], callbacks=[receive]),
    ):
        while True:
            await connection.adrain_events()


async def _awaits(run: _Run) -> None:
    messages: list[Any] = []
    async with run.connect() as connection:
        consumer = connection.aconsumer(
            [_queue()], callbacks=[lambda body, message: messages.append(message)]
        )
        async with consumer:
            while True:
                await connection.adrain_events()
                message = messages.pop()
                run.note("got", message.payload)
                await asyncio.sleep(_work())
                await message.aack()
                run.note("acked", message.payload)


async def _simple(run: _Run) -> None:
    async with (
        run.connect() as connection,
        connection.asimple_queue(_queue()) as simple,
    ):
        while True:
            # Impatient: most of its calls are given up.
            with suppress(simple.Empty, TimeoutError):
                message = await asyncio.wait_for(simple.aget(timeout=1), _work())
                run.note("got", message.payload)
                await message.aack()
                run.note("acked", message.payload)


def _forked(target: Callable[[_Run], Any], run: _Run) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        random.seed(os.getpid())
        found = target(run)
        if asyncio.iscoroutine(found):
            asyncio.run(found)
    finally:
        os._exit(0)


def _flow(run: _Run, kills: int, count: int) -> None:
    modes = (_callbacks, _awaits, _simple)
    stock = [_forked(_stock, run)]
    native = [_forked(mode, run) for mode in modes[:_NATIVE]]
    numbers = iter(range(count))
    with run.connect() as connection:
        producer = connection.Producer()
        for kill in range(kills):
            for number in islice(numbers, -(-count // kills)):
                producer.publish(number, exchange="", routing_key="q")
            time.sleep(random.random() * 0.15)
            victim = random.randrange(len(native))
            os.kill(native[victim], signal.SIGKILL)
            os.waitpid(native[victim], 0)
            native[victim] = _forked(modes[kill % len(modes)], run)
    _settle(run, count)
    for pid in (*native, *stock):
        os.kill(pid, signal.SIGKILL if pid in native else signal.SIGTERM)
        os.waitpid(pid, 0)


def _settle(run: _Run, count: int) -> None:
    """Wait until everything was got and acked, or nothing happens any more."""
    server: Any = redis.Redis.from_url(run.url)
    size, since = 0, time.monotonic()
    while time.monotonic() - since < _QUIET:
        if (now := run.notes.stat().st_size) != size:
            size, since = now, time.monotonic()
        left = server.llen(f"{run.prefix}q"), server.hlen(f"{run.prefix}unacked")
        if left == (0, 0) and len({n[3] for n in run.read()}) >= count:
            return
        time.sleep(0.2)


def _verdict(run: _Run, count: int) -> dict[str, Any]:
    got: Counter[str] = Counter()
    began: dict[tuple[str, str], float] = {}
    acked: dict[str, float] = {}
    again = []
    for when, pid, what, body in run.read():
        now = float(when)
        if what == "got":
            got[body] += 1
            began[pid, body] = now
            if now > acked.get(body, now):
                again.append(body)
        elif now - began[pid, body] < run.options["visibility_timeout"] / 2:
            # Who was kept from running for longer may have lost it to somebody else.
            acked.setdefault(body, now)
    return {
        "messages": count,
        "lost": count - len(got),
        "delivered again": sum(got.values()) - len(got),
        "again after an awaited ack": len(again),
    }


def main() -> int:
    """Run, and say what became of the messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    random.seed(options.seed)
    celery_async_bridge.install()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        run = _Run(options.url, notes)
        began = time.monotonic()
        try:
            _flow(run, options.kills, options.count)
            found = {**_verdict(run, options.count), "kills": options.kills}
            found["seconds"] = round(time.monotonic() - began, 1)
        finally:
            server: Any = redis.Redis.from_url(options.url)
            for key in server.scan_iter(f"{run.prefix}*"):
                server.delete(key)
    print(json.dumps(found))
    return int(bool(found["lost"] or found["again after an awaited ack"]))


if __name__ == "__main__":
    sys.exit(main())
