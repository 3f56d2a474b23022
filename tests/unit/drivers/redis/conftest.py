"""The tests below here run with the bridge and its Redis driver, and never block."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery

from celery_async_bridge.core import registry
from celery_async_bridge.drivers.redis import RedisDriver, results
from celery_async_bridge.install import install, uninstall
from celery_async_bridge.testing.tripwire import tripwire
from tests.unit.drivers.redis.help import NEVER, MakeApp, Pools, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package", autouse=True)
def _driver() -> Iterator[None]:
    """Register the driver where the package is not installed."""
    missing = registry.driver_for("redis", "broker") is None
    if missing:
        uninstall()
        registry.register("redis", RedisDriver())
        install()
    yield
    if missing:
        uninstall()
        registry.forget("redis")


@pytest.fixture(autouse=True)
def _never_blocks() -> Iterator[None]:
    """Fail a test in which something waits on the thread of a loop."""
    with tripwire():
        yield


@pytest.fixture
def pools(redis_url: str, unique: str) -> Iterator[Pools]:
    """Makes redis-py pools whose connections carry the name of the test."""
    found = Pools(redis_url, unique)
    yield found
    found.close()


@pytest.fixture
def pool(pools: Pools) -> Any:
    """One of them."""
    return pools.make()


@pytest.fixture
def watcher(redis_url: str, unique: str) -> Iterator[Watcher]:
    """Looks at the server with a connection of its own."""
    with redis.Redis.from_url(redis_url) as client:
        yield Watcher(client, unique)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What loops report as nobody's error; a test that uses it looks at it."""
    reported: list[dict[str, Any]] = []

    def handle(self: Any, context: dict[str, Any]) -> None:
        reported.append(context)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_exception_handler", handle)
    return reported


@pytest.fixture
def make_app(redis_url: str, unique: str) -> Iterator[MakeApp]:
    """Make apps that keep results on Redis; `name` tells their connections."""
    apps: list[Celery] = []

    def make(query: str = "", **settings: Any) -> Celery:
        app = Celery(unique, broker="memory://", set_as_current=False)
        app.conf.update(
            {
                "result_backend": redis_url + query,
                "redis_client_name": unique,
                "result_backend_transport_options": {"global_keyprefix": f"{unique}:"},
                **settings,
            }
        )
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
    apps.clear()


@pytest.fixture
def app(make_app: MakeApp) -> Celery:
    """One of them."""
    return make_app()


@pytest.fixture
def pushed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at twice."""
    monkeypatch.setattr(results, "SAFETY", NEVER)
    monkeypatch.setattr(results, "POLLING", NEVER)
    monkeypatch.setattr(results, "ACK", 30.0)
