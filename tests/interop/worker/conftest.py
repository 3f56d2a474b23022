"""A real `celery worker -P asyncio` for each module, on Redis and on RabbitMQ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from celery_async_bridge import uninstall
from tests.interop.processes import environment, forget, stock_worker
from tests.sweep import sweep

if TYPE_CHECKING:
    import subprocess
    from contextlib import AbstractContextManager


#: For Redis: what was taken and not acknowledged comes again after so many seconds.
SOON_BACK = {
    "visibility_timeout": 2,
    "unacked_mutex_expire": 1,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}


@dataclass
class Site:
    """Where workers run: their servers, their names, their logs."""

    app: Any
    broker: str
    prefix: str
    env: dict[str, str]
    home: Path

    def name(self, node: str) -> str:
        """The full name of a worker."""
        return f"{self.app.conf.task_default_queue}@{node}"

    @property
    def record(self) -> Path:
        """Where `pool.early` and `pool.late` leave a line for each execution."""
        return Path(self.env["POOL_RECORD"])

    def worker(
        self, node: str, *options: str, pool: str = "asyncio"
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a worker until the block ends."""
        return stock_worker(
            self.app,
            pool,
            self.env,
            self.home / node,
            module="tests.interop.worker.pool_app",
            options=options,
            node=node,
        )

    def recorded(self, enough: int = 0) -> Counter[int]:
        """Count the executions that have left a line, when there are `enough`."""
        end = time.monotonic() + 100
        while True:
            found = Counter(map(int, self.record.read_text().split()))
            if len(found) >= enough:
                return found
            assert time.monotonic() < end, f"only {len(found)} of {enough}"
            time.sleep(0.02)

    def log(self, node: str) -> str:
        """What a worker has written."""
        return (self.home / node).read_text()


def a_site(broker: str, backend: str, home: Path) -> Iterator[Site]:
    """Names and keys of our own, until the generator is closed."""
    from tests.interop.worker.pool_app import make_app

    prefix = f"pool-{home.parent.name}-{home.name}"
    env = environment(broker, backend, prefix)
    env["POOL_RECORD"] = str(home / "record")
    (home / "record").touch()
    app = make_app(broker, backend, prefix)
    try:
        yield Site(app, broker, prefix, env, home)
    finally:
        app.close()
        forget(broker, prefix)
        forget(backend, prefix)
        uninstall()
        sweep()


@pytest.fixture(scope="module", params=["redis", "amqp"])
def site(
    request: pytest.FixtureRequest,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Both brokers, one after the other; the results are in Redis."""
    redis = request.param == "redis"
    broker = redis_server if redis else request.getfixturevalue("amqp_url")
    yield from a_site(broker, redis_server, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def here(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Redis alone: for what is no matter of the broker."""
    yield from a_site(redis_server, redis_server, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def running(site: Site) -> Iterator[Site]:
    """A worker that runs fifty tasks at once, and sends events."""
    with site.worker("main", "-c", "50", "-E"):
        yield site
