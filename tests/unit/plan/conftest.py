"""An app on Redis, what lies in its queue, and whether a send went by plan."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery, _state
from kombu import pools

from celery_async_bridge.core.taps import recorder
from celery_async_bridge.install import install, journal, uninstall
from celery_async_bridge.plan.plan import Plan, shelf_of
from celery_async_bridge.plan.shape import BARE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    was_installed = journal() is not None
    install()
    yield
    if not was_installed:
        uninstall()


class Desk:
    """An app, its task `add`, and its queue."""

    def __init__(self, app: Any, url: str, prefix: str) -> None:
        self.app = app
        self.prefix = prefix
        self.client = redis.Redis.from_url(url)
        self.add = self.task("add")

    def task(self, name: str, **options: Any) -> Any:
        """Register a task of two arguments."""

        def body(x: Any, y: Any = None) -> Any:
            return x, y

        found = self.app.task(name=name, **options)(body)
        self.app.finalize()
        return self.app.tasks[found.name]

    def raw(self) -> list[bytes]:
        """Take all messages, oldest first, from all lists of the queue."""
        found: list[bytes] = []
        for key in sorted(self.client.keys(f"{self.prefix}{self.queue}*")):
            messages: Any = self.client.lrange(key, 0, -1)
            found += reversed(messages)
            self.client.delete(key)
        return found

    @property
    def queue(self) -> str:
        """The name of the default queue."""
        return str(self.app.conf.task_default_queue)

    def sent(self) -> list[dict[str, Any]]:
        """Take all messages, parsed."""
        return [json.loads(one) for one in self.raw()]

    def plan(self, task: Any = None, key: Any = BARE) -> Plan:
        """The plan of a shape."""
        return shelf_of(task or self.add).plans[key]

    async def learned(self, task: Any = None, **options: Any) -> None:
        """Send twice, so that the third send goes by plan."""
        task = task or self.add
        for number in (1, 2):
            await task.aapply_async((number,), **options)
        self.raw()


def plain(raw: bytes) -> Any:
    """A message as pairs in their order, without what differs from send to send."""
    found = json.loads(raw)
    headers, properties = found["headers"], found["properties"]
    task_id = headers["id"]
    for name in ("eta", "expires"):
        if headers[name]:
            datetime.fromisoformat(headers[name])
            headers[name] = "a time"
    assert len(properties.pop("delivery_tag")) == 36
    return json.dumps(found).replace(json.dumps(task_id), '"ID"')


@contextmanager
def by_upstream() -> Iterator[list[Any]]:
    """List the commands that upstream's code writes; a plan's are not among them."""
    written: list[Any] = []
    token = recorder.set(lambda _, commands: written.extend(commands))
    try:
        yield written
    finally:
        recorder.reset(token)


@pytest.fixture
def make_desk(redis_url: str, redis_options: dict[str, Any], unique: str) -> Any:
    """Make a desk, with more settings."""
    desks: list[Desk] = []
    before = set(_state._on_app_finalizers)

    def make(cls: Any = Celery, **settings: Any) -> Desk:
        app = cls(unique, broker=redis_url, backend=redis_url, set_as_current=False)
        app.conf.update(
            {
                "task_default_queue": f"{unique}.{len(desks)}",
                "broker_transport_options": redis_options,
                "result_backend_transport_options": redis_options,
                **settings,
            }
        )
        desk = Desk(app, redis_url, redis_options["global_keyprefix"])
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.raw()
        desk.client.close()
        desk.app.close()
    pools.reset()
    _state._on_app_finalizers.intersection_update(before)


@pytest.fixture
def desk(make_desk: Any) -> Desk:
    """An app with settings of its own queue only."""
    found: Desk = make_desk()
    return found
