"""Servers that the tests below may break, and apps on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pytest

from celery_async_bridge.core.registry import driver_for
from celery_async_bridge.testing.tripwire import tripwire
from tests import tiers
from tests.integration.apps import an_app
from tests.redis_servers import DURABLE, RedisServer, redis_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as found:
        yield found


@pytest.fixture
def durable_server() -> Iterator[RedisServer]:
    """A server that has written to disk what it confirms."""
    with redis_server(options=DURABLE) as found:
        yield found


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server of the module that no test may break."""
    with redis_server() as found:
        yield found


@pytest.fixture(autouse=True)
def _never_blocks() -> Iterator[None]:
    """Fail a test in which something waits on the thread of a loop."""
    if driver_for("redis", "broker") is None:
        # These are promises of the native tiers.
        if not version("kombu").startswith("5.5."):
            pytest.fail("the native driver for Redis is missing")
        pytest.skip("no native driver for this release of Kombu")
    with tripwire():
        yield


@pytest.fixture
def make_app(_never_blocks: None, unique: str) -> Iterator[Callable[..., Any]]:
    """Make apps by broker URL; they are closed at the end."""
    open_apps = []

    def make(broker: str, backend: str = "", **conf: Any) -> Any:
        context = an_app(broker, backend, unique, **conf)
        app = context.__enter__()
        open_apps.append(context)
        return app

    yield make
    for context in reversed(open_apps):
        context.__exit__(None, None, None)


@pytest.fixture(params=["plan", "beneath", "trampoline"])
def make_app_of_a_tier(
    request: pytest.FixtureRequest, make_app: Callable[..., Any]
) -> Callable[..., Any]:
    """Make apps whose task goes by plan, beneath an override, or by upstream's code."""
    if request.param == "plan":
        return make_app

    def make(*args: Any, **conf: Any) -> Any:
        app = make_app(*args, **conf)
        if request.param == "trampoline":
            tiers.prepare(tiers.TRAMPOLINE, app)
            return app

        class Overriding(app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def apply_async(self, *args: Any, **kwargs: Any) -> Any:
                return super().apply_async(*args, **kwargs)

        app.add = app.task(app.add.run, name="own", base=Overriding, shared=False)
        return app

    return make
