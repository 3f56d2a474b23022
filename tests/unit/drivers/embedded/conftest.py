"""The transport has its name while the bridge is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import celery_async_bridge
from tests.unit.drivers.embedded.help import place


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    """Install for the tests of a module."""
    celery_async_bridge.install()
    yield
    celery_async_bridge.uninstall()


@pytest.fixture
def url() -> Iterator[str]:
    """A place of one's own."""
    with place() as url:
        yield url
