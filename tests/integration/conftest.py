"""The tests below here run with the bridge installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import celery_async_bridge
from tests import tiers
from tests.sweep import sweep


@pytest.fixture(scope="session", autouse=True)
def installed() -> Iterator[list[str]]:
    """Install once; the names that were added."""
    yield celery_async_bridge.install()
    celery_async_bridge.uninstall()


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """Leave no garbage to the next module."""
    yield
    sweep()


@pytest.fixture(params=tiers.TIERS)
def tier(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each tier of the twins, entered."""
    name: str = request.param
    if tiers.missing(name):
        pytest.skip(tiers.missing(name))
    with tiers.entered(name):
        yield name
    sweep()
