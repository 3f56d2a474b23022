"""Fixtures for pytest: an app, workers, time and a tripwire, without a server.

pytest loads it by itself. It imports nothing of Celery, nor of the bridge, before a
test asks for a fixture, and none of its names is one of `celery.contrib.pytest`'s.
The fixtures are sync: they serve sync tests, and async ones of any plug-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ("pytest_addoption",)

_OPTION = "async_celery_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that names the app under test."""
    parser.addini(
        _OPTION,
        "the Celery app that `async_celery_app` gives, as in `celery -A`; without it a "
        "new one for each test",
        default="",
    )


@pytest.fixture
def async_celery_config() -> dict[str, Any]:
    """Settings of the app during a test: for you to override."""
    return {}


@pytest.fixture
def async_celery_tripwire() -> Iterator[Any]:
    """Fail a test in which sync code waits on the thread of a running event loop."""
    from .tripwire import tripwire

    with tripwire() as wire:
        yield wire


@pytest.fixture
def async_celery_clock() -> Iterator[Any]:
    """Let time stand for the app and its worker until the test moves it."""
    from .clock import virtual_time

    with virtual_time() as clock:
        yield clock


def _first(request: pytest.FixtureRequest, *names: str) -> None:
    """Set other fixtures up before, if the test has them."""
    for name in names:
        if name in request.fixturenames:
            request.getfixturevalue(name)


@pytest.fixture
def async_celery_app(
    request: pytest.FixtureRequest, async_celery_config: dict[str, Any]
) -> Iterator[Any]:
    """Give the app under test, on a broker and result backend of the test's own.

    It is the current app meanwhile, as `current_app` and shared tasks see it.
    """
    # What watches locks, or stops clocks, is to be there before what has them.
    _first(request, "async_celery_tripwire", "async_celery_clock")
    from celery import Celery
    from celery.app.utils import find_app
    from celery.contrib.testing.app import setup_default_app

    from .apps import on_embedded

    name = request.config.getini(_OPTION)
    app: Any = find_app(name) if name else Celery("tests", set_as_current=False)
    with on_embedded(app, **async_celery_config), setup_default_app(app):
        app.set_default()
        app.set_current()
        yield app


@pytest.fixture
def async_celery_worker(async_celery_app: Any) -> Iterator[Any]:
    """Run a worker of the app, with a thread and an event loop of its own."""
    from .workers import worker_in_thread

    with worker_in_thread(async_celery_app) as worker:
        yield worker


@pytest.fixture
def async_celery_worker_here(
    async_celery_app: Any,
) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Give `embedded_worker` of the app, for `async with` in an async test.

    Its async tasks run on the loop of the test.
    """
    from functools import partial

    from celery_async_bridge import embedded_worker

    return partial(embedded_worker, async_celery_app)
