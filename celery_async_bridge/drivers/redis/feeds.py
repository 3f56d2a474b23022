"""Which feed delivers the results of a backend on the running loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...core.loops import LoopLocal
from .address import address_of
from .ear import ear_for
from .own_ways import is_published, is_read_plainly
from .results import Decode, Fetch, ResultFeed

__all__ = ("feed_for",)


def feed_for(
    backend: Any,
    key: Any,
    fetch: Fetch,
    failure: Callable[[BaseException], Any],
    decode: Decode | None = None,
) -> ResultFeed | None:
    """Return the running loop's feed of a backend; None if it must be polled.

    Arguments:
        backend: a result backend of Celery.
        key: identifies it, by value.
        fetch: looks into the store.
        failure: makes what a watch gets in the place of a meta.
        decode: makes metas of values that were read without the backend; None if
            its own look does more than to read them.
    """
    found = _local.get()
    feed = found.get(key)
    if feed is None:
        if not is_published(backend):
            return None
        address = address_of(backend.client.connection_pool)
        if address is None:
            return None
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
