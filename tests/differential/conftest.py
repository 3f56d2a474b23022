"""The two stages; the generated programs need hypothesis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
import pytest

from celery_async_bridge.drivers.embedded.link import Connection
from celery_async_bridge.embedded import places
from celery_async_bridge.embedded.broker import Broker
from tests.differential.clock import HandClock
from tests.differential.stage import Stage

collect_ignore = [] if find_spec("hypothesis") else ["test_same.py"]

#: Seconds that pass after each step of a timed program; its periods are far below.
STEP = 0.02


@pytest.fixture(scope="module")
def server(amqp_url: str) -> Iterator[Stage]:
    parts = urlsplit(amqp_url)
    vhost = unquote(parts.path[1:]) or "/"

    def connect(confirm: bool) -> Any:
        connection = amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}",
            parts.username or "guest",
            parts.password or "guest",
            virtual_host=vhost,
            confirm_publish=confirm,
        )
        connection.connect()
        return connection

    stage = Stage(connect, lambda: time.sleep(STEP), vhost=vhost)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def embedded() -> Iterator[Stage]:
    clock = HandClock()
    name = "differential"
    broker = Broker(name, clock)
    places.put(name, broker)

    def pause() -> None:
        # A message may have to die in one queue after the other.
        for _ in range(5):
            clock.advance(STEP / 5)
            with broker.turn():
                pass

    def connect(confirm: bool) -> Any:
        connection = Connection(name, confirm_publish=confirm)
        connection.connect()
        return connection

    stage = Stage(connect, pause)
    yield stage
    stage.close()
    places.forget(name)
