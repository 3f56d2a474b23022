"""The tests below here run with the bridge installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import celery_async_bridge


@pytest.fixture(scope="session", autouse=True)
def installed() -> Iterator[list[str]]:
    """Install once; the names that were added."""
    yield celery_async_bridge.install()
    celery_async_bridge.uninstall()
