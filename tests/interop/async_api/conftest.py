"""One stock prefork worker for each module, and nothing that blocks the loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from kombu import pools

from celery_async_bridge import install, uninstall
from celery_async_bridge.testing.tripwire import tripwire
from tests.interop.async_api import api_tasks
from tests.interop.processes import environment, forget, stock_worker
from tests.sweep import sweep

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()
    sweep()


@pytest.fixture(scope="module")
def app(
    request: pytest.FixtureRequest,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """An app whose tasks a stock worker process runs, four at a time."""
    module = request.module.__name__.rpartition(".")[2]
    prefix = f"api-{module}-{tmp_path_factory.getbasetemp().name}"
    log: Path = tmp_path_factory.mktemp("worker") / "log"
    env = environment(redis_server, redis_server, prefix)
    tasks, options = api_tasks.__name__, ["-c", "4"]
    try:
        # Laid before the app and its connections are made: their locks count, too.
        with tripwire():
            app = api_tasks.make_api_app(redis_server, redis_server, prefix)
            # With its heartbeat, for without that there are no events to switch on.
            with stock_worker(app, "prefork", env, log, module=tasks, options=options):
                yield app
            app.close()
            pools.reset()
    finally:
        forget(redis_server, prefix)


@pytest.fixture
def t(app: Any) -> SimpleNamespace:
    """The tasks of the app, by name."""
    return api_tasks.tasks_of(app)
