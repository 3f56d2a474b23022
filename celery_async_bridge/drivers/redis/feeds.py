"""Which feed delivers the results of a backend on the running loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.loops import LoopLocal
from .address import address_of
from .ear import ear_for
from .own_ways import is_published, is_read_plainly
from .results import ResultFeed

if TYPE_CHECKING:
    from ...core.registry import Looks

__all__ = ("feed_for",)


def feed_for(backend: Any, key: Any, looks: Callable[[], Looks]) -> ResultFeed | None:
    """Return the running loop's feed of a backend; None if it must be polled.

    Arguments:
        backend: a result backend of Celery.
        key: identifies it, by value.
        looks: says how the backend is looked into.
    """
    found = _local.get()
    feed = found.get(key)
    if feed is None:
        if not is_published(backend):
            return None
        address = address_of(backend.client.connection_pool)
        if address is None:
            return None
        fetch, failure, decode = looks()
        if not is_read_plainly(backend):
            decode = None
        ear = ear_for(address)
        feed = found[key] = ResultFeed(backend, fetch, failure, ear, decode)
        feed.on_idle = partial(_forget, found, key, feed)
    return feed


def _forget(found: dict[Any, ResultFeed], key: Any, feed: ResultFeed) -> None:
    # A feed that was idle before may have a successor by now.
    if found.get(key) is feed:
        del found[key]


_local: LoopLocal[dict[Any, ResultFeed]] = LoopLocal(dict)
