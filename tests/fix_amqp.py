"""RabbitMQ fixtures: a virtual host of our own, else names that are deleted."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def amqp_server() -> str:
    """URL of a RabbitMQ server that lets us in.

    `BRIDGE_TEST_AMQP_URL`, else a local server; skips (or fails, when the
    server is required) if there is none.
    """
    named = os.environ.get("BRIDGE_TEST_AMQP_URL")
    if named:
        if not servers.speaks_amqp(named):
            pytest.fail("BRIDGE_TEST_AMQP_URL is set but no broker lets us in there")
        return named
    if servers.speaks_amqp(servers.LOCAL_AMQP):
        return servers.LOCAL_AMQP
    if "amqp" in servers.required():
        pytest.fail("RabbitMQ is required by BRIDGE_TEST_REQUIRE and there is none")
    pytest.skip("no RabbitMQ on 127.0.0.1:5672")


@pytest.fixture(scope="session")
def amqp_url(amqp_server: str) -> Iterator[str]:
    """URL of a virtual host that this session owns.

    Where none can be made (`BRIDGE_TEST_AMQP_URL` is taken as it is, and
    `rabbitmqctl` may be missing) it is the server's URL: name queues with
    `amqp_queue`, so that they are deleted.
    """
    owned = not os.environ.get("BRIDGE_TEST_AMQP_URL") and servers.is_local(amqp_server)
    vhost = f"bridge-test-{secrets.token_hex(6)}"
    if not (owned and servers.rabbitmqctl("add_vhost", vhost)):
        yield amqp_server
        return
    try:
        allowed = servers.rabbitmqctl(
            "set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"
        )
        yield servers.with_vhost(amqp_server, vhost) if allowed else amqp_server
    finally:
        servers.rabbitmqctl("delete_vhost", vhost)


@pytest.fixture
def amqp_queue(amqp_url: str, unique: str) -> Iterator[Callable[[str], str]]:
    """Make a queue name that is unique; queue and exchange are deleted after."""
    names: list[str] = []

    def make(name: str = "q") -> str:
        names.append(f"{unique}.{name}")
        return names[-1]

    yield make
    if not names:
        return
    from kombu import Connection, Exchange, Queue

    with Connection(amqp_url, connect_timeout=5) as connection:
        for name in names:
            with connection.channel() as channel:
                Queue(name, channel=channel).delete()
                Exchange(name, channel=channel).delete()
