"""Async views send on every kind of server; its sockets to the broker stay few."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.web.serving import KINDS, Site, require, serving
from tests.redis_servers import RedisServer, eventually, redis_server

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = 200
AT_ONCE = 10

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    """A server whose only clients are those of a web server."""
    with redis_server() as server:
        yield server


@dataclass
class Count:
    """Sends jobs, and counts what becomes of them."""

    site: Site
    broker: RedisServer
    sent: int = 0

    def send(self, number: int) -> set[int]:
        """Send jobs, some at a time; the statuses."""
        with ThreadPoolExecutor(AT_ONCE) as visitors:
            answers = list(visitors.map(self._post, range(number)))
        ids = {json.loads(body)["id"] for status, body in answers if status == 202}
        self.sent += len(ids)
        return {status for status, _ in answers}

    def _post(self, _: int) -> tuple[int, str]:
        return self.site.request("POST", "/jobs/pack/start")

    def queued(self) -> Any:
        """How many messages wait for a worker."""
        with self.broker.admin() as admin:
            return admin.llen("orders")


@pytest.mark.parametrize("name", KINDS)
def test_every_request_succeeds(name: str, broker: RedisServer, tmp_path: Path) -> None:
    kind = KINDS[name]
    require(*kind.needs)
    with broker.admin() as admin:
        admin.flushall()
    log = tmp_path / "log"
    with serving(kind, "django_shop", log, {"SHOP_BROKER": broker.url}) as site:
        site.enter()
        count = Count(site, broker)

        def rests() -> bool:
            return len(broker.connections()) == kind.rests

        # Before the one that is counted, so that all that is needed is there.
        for number in (AT_ONCE, REQUESTS):
            assert count.send(number) == {202}, log.read_text()
            eventually(rests, what=f"{kind.rests} connections")
        site.end()
    assert count.queued() == count.sent == REQUESTS + AT_ONCE
    eventually(lambda: not broker.connections(), what="all connections are closed")
