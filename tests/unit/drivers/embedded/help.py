"""Brokers that go when their test goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from celery_async_bridge.embedded import places

__all__ = ("place",)


@contextmanager
def place() -> Iterator[str]:
    """Give the URL of a broker and store of one's own."""
    name = f"Test-{uuid.uuid4().hex[:8]}"
    try:
        yield f"embedded://{name}"
    finally:
        places.forget(name)
