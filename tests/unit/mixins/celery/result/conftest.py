"""Apps with each kind of result backend, and a writer beside the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.backends.redis import RedisBackend
from kombu import pools

from tests.unit.mixins.celery._results import STORES, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_app(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    unique: str,
    tmp_path: Path,
) -> Iterator[Callable[..., Celery]]:
    """Make an app with a result backend by name, on the in-memory broker."""
    apps: list[Celery] = []
    # Upstream leaves the sockets of its backends, one backend per thread, to the
    # garbage collector.
    made: list[Any] = []
    original: Any = RedisBackend.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(RedisBackend, "__init__", init)

    def make(store: str, **settings: Any) -> Celery:
        urls = {
            "memory": "cache+memory://",
            "file": f"file://{tmp_path}",
            "sqlite": f"db+sqlite:///{tmp_path}/results.db",
        }
        if store == "redis":
            urls["redis"] = request.getfixturevalue("redis_url")
            options = request.getfixturevalue("redis_options")
            settings.setdefault("result_backend_transport_options", options)
        url = urls.get(store, store)
        app = Celery(unique, broker="memory://", backend=url, set_as_current=False)
        app.conf.update(**settings)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
    for backend in made:
        backend.client.connection_pool.disconnect()
        backend.result_consumer.stop()
    pools.reset()


@pytest.fixture(params=STORES)
def app(request: pytest.FixtureRequest, make_app: Callable[[str], Celery]) -> Celery:
    """An app on each of `STORES`."""
    return make_app(request.param)


@pytest.fixture
def writer(app: Celery) -> Iterator[Writer]:
    """Stores results of `app` from other threads."""
    writer = Writer(app)
    yield writer
    writer.join()
