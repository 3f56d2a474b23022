"""What several tests of the core need."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery_async_bridge.core.route import Endpoint, Expired, Route

_count = itertools.count()

#: Seconds in which a thread starts also on a busy machine: the deadline of a call that
#: shall have started when it expires.
SOON = 1.0


class Late(Exception):
    """What the routes of these tests raise for a passed deadline."""

    def __init__(self, expired: Expired) -> None:
        super().__init__(str(expired))
        self.expired = expired


def route(**options: Any) -> Route:
    """A route to a server of its own."""
    number = next(_count)
    endpoint = Endpoint("broker", "nosuch", ("test", number), f"nosuch://{number}")
    return Route(endpoints=(endpoint,), expired=Late, **options)


class Blocking:
    """A sync call that is known to have started, and ends when it is told."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.end = threading.Event()

    def __call__(self) -> bool:
        self.started.set()
        return self.end.wait(60)

    async def running(self) -> None:
        """Wait until a thread is in it."""
        await until(self.started.is_set)


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for a condition, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.005)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(code: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
