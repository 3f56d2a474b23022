"""What a result backend does in a way of its own, so that upstream's is not assumed."""

from __future__ import annotations

from typing import Any

__all__ = ("is_published", "is_read_plainly")

#: What a backend must not override to be heard as upstream's own is.
_PUBLISHING = ("_set", "set", "decode_result", "get_key_for_task", "ResultConsumer")
#: The same for what it reads without upstream's help.
_READING = ("client", "mget", "get")


def is_read_plainly(backend: Any) -> bool:
    """Whether its results can be read from Redis without its own methods."""
    return _is_upstreams(backend, _READING)


def is_published(backend: Any) -> bool:
    """Whether whoever stores a result of this backend publishes it, too."""
    return _is_upstreams(backend, _PUBLISHING)


def _is_upstreams(backend: Any, names: tuple[str, ...]) -> bool:
    from celery.backends import redis

    upstream = vars(redis)["RedisBackend"]
    cls = type(backend)
    return issubclass(cls, upstream) and all(
        getattr(cls, name) is getattr(upstream, name) for name in names
    )
