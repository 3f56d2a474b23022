"""Celery apps on real brokers, and a look at what they sent."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, _state
from kombu import pools

from tests.unit._memory import native_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What upstream leaves to the garbage collector, and what it calls in redis-py.
_QUIET = (
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:Call to deprecated:DeprecationWarning",
)

#: Broker and backend, by name.
STACKS = ("memory", "redis", "amqp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests below here be quiet about upstream."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for line in _QUIET:
                item.add_marker(pytest.mark.filterwarnings(line))


class Desk:
    """An app with a queue of its own, and what lies in that queue."""

    def __init__(self, app: Any, queue: str) -> None:
        self.app = app
        self.queue = queue

    def sent(self) -> list[dict[str, Any]]:
        """Take all messages out of the queue, oldest first."""
        found = []
        with self.app.connection_for_read() as connection:
            queue = self.app.amqp.queues[self.queue](connection.default_channel)
            queue.queue_declare()
            while (message := queue.get(no_ack=True)) is not None:
                body = message.body
                found.append(
                    {
                        "body": body
                        if isinstance(body, str)
                        else body.decode("latin1"),
                        "headers": dict(message.headers),
                        "properties": _steady(message.properties),
                        "type": message.content_type,
                        "encoding": message.content_encoding,
                    }
                )
        return found


def _steady(properties: dict[str, Any]) -> dict[str, Any]:
    # The tag is new for each message; the reply queue is named after the thread.
    return {
        name: value
        for name, value in properties.items()
        if name not in {"delivery_tag", "reply_to"}
    }


def masked(message: dict[str, Any], *ids: str) -> str:
    """One message as text, with the ids of its tasks as numbers."""
    text = json.dumps(message, sort_keys=True, default=repr)
    for place, one in enumerate(ids):
        text = text.replace(one, f"<{place}>")
    return text


@pytest.fixture(autouse=True)
def _shared_tasks_end_with_the_test() -> Iterator[None]:
    """Every app that is made later would get the shared tasks of this test."""
    before = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(before)


@pytest.fixture(scope="module")
def native() -> Iterator[None]:
    """The bridge with the memory driver."""
    with native_memory():
        yield


@pytest.fixture
def make_desk(request: pytest.FixtureRequest, unique: str) -> Iterator[Any]:
    """Make an app on one of `STACKS`, with more settings."""
    apps: list[Celery] = []

    def make(stack: str, **settings: Any) -> Desk:
        queue = f"{unique}.{len(apps)}"
        if stack == "memory":
            urls = "memory://", "cache+memory://"
            # A stock worker looks for messages once a second.
            settings.setdefault("broker_transport_options", {"polling_interval": 0.02})
        elif stack == "redis":
            url = request.getfixturevalue("redis_url")
            options = request.getfixturevalue("redis_options")
            settings.setdefault("broker_transport_options", options)
            settings.setdefault("result_backend_transport_options", options)
            urls = url, url
        else:
            queue = request.getfixturevalue("amqp_queue")(str(len(apps)))
            urls = request.getfixturevalue("amqp_url"), "rpc://"
        app = Celery(unique, broker=urls[0], backend=urls[1], set_as_current=False)
        app.conf.update(task_default_queue=queue, **settings)
        apps.append(app)
        return Desk(app, queue)

    yield make
    for app in apps:
        app.close()
    pools.reset()


@pytest.fixture(params=STACKS)
def desk(request: pytest.FixtureRequest, make_desk: Callable[..., Desk]) -> Desk:
    """An app on each of `STACKS`."""
    return make_desk(request.param)


@contextmanager
def running(task: Any, **request: Any) -> Iterator[Any]:
    """Be inside a task, as upstream's tracer is while it calls the body."""
    _state._task_stack.push(task)
    task.push_request(children=[], called_directly=False, **request)
    try:
        yield task.request
    finally:
        task.pop_request()
        _state._task_stack.pop()
