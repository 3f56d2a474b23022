"""Connections that only their own class can open: their I/O runs in threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from ...core.offload import offload
from ...core.route import Endpoint, Route
from ...core.trampoline import await_

__all__ = ("ThreadedConnection", "in_thread")

_BLOCKING = frozenset(
    {
        "can_read",
        "check_health",
        "connect",
        "disconnect",
        "read_response",
        "send_command",
        "send_packed_command",
    }
)


def in_thread(pool: Any, fn: Callable[[], Any]) -> Any:
    """Run sync I/O of a pool in a thread and suspend the trampolined call."""
    cls = pool.connection_class
    label = f"{cls.__module__}.{cls.__qualname__}"
    endpoint = Endpoint("broker", "redis", ("redis-class", id(pool)), label)
    return await_(offload(Route(endpoints=(endpoint,)), fn))


class ThreadedConnection:
    """A sync connection of a class that has no native counterpart.

    A trampolined call uses it without blocking the loop: what touches the socket runs
    in a thread of its own lane.
    """

    #: redis-py would sleep on the loop between its retries, and send a write twice;
    #: Kombu and Celery retry above.
    retry: Retry = Retry(NoBackoff(), 0)

    def __init__(self, pool: Any, connection: Any) -> None:
        self._pool = pool
        self.real = connection

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.real, name)
        if name not in _BLOCKING:
            return value

        def threaded(*args: Any, **kwargs: Any) -> Any:
            return in_thread(self._pool, partial(value, *args, **kwargs))

        return threaded
