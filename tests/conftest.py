"""What every test can use.

Async tests are plain `async def` functions: each runs in an event loop of its
own. There are no async fixtures; a helper that needs a running loop is an
async context manager.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.metadata
import inspect
import itertools
import os
import secrets
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import celery._state
import celery.app.base
import kombu.transport.redis
import pytest

from celery_async_bridge.core import registry
from tests.leftovers import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ("tests.fix_redis", "tests.fix_amqp")

if os.environ.get("BRIDGE_TEST_LOOP") == "uvloop":
    # What many web servers run on; its timers, handles and transports have ways of
    # their own.
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

_SESSION = f"bt{secrets.token_hex(4)}"
_COUNTER = itertools.count(1)
_SERVER_FIXTURES = {
    "redis": {"redis_server", "redis_url"},
    "amqp": {"amqp_server", "amqp_url", "amqp_queue"},
}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in a fresh event loop."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    kwargs: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(function(**kwargs), debug=False)
    return True


def pytest_configure(config: pytest.Config) -> None:
    """Let uvloop warn: a warning raised while it closes handles never ends."""
    if os.environ.get("BRIDGE_TEST_LOOP") == "uvloop":
        config.addinivalue_line(
            "filterwarnings", "default:unclosed resource:ResourceWarning"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by the server it uses, so that `-m "not amqp"` is complete."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        callspec = getattr(item, "callspec", None)
        chosen = callspec.params.get("broker_url") if callspec else None
        for server, fixtures in _SERVER_FIXTURES.items():
            if used & fixtures or chosen == server:
                item.add_marker(server)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail the session if it leaves a busy thread or a process behind."""
    yield
    rest = leftovers()
    if rest:
        pytest.fail("left behind by the session: " + ", ".join(rest), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _distinct_apps() -> Iterator[None]:
    """Give every app reply queues of its own.

    Celery names them after the address of the app, which a later app may get, and a
    queue that the earlier one declared with another `result_expires` is still there.
    """
    module: Any = celery.app.base
    original = module.oid_from
    serials: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def oid_from(instance: Any, threads: bool = True) -> str:
        serial = serials.setdefault(instance, next(_COUNTER))
        name = f"{serial}-{original(instance, threads)}"
        return str(uuid.uuid3(uuid.NAMESPACE_OID, name))

    module.oid_from = oid_from
    yield
    module.oid_from = original


@pytest.fixture(scope="session", autouse=True)
def _short_reads() -> Iterator[None]:
    """Have Kombu's Redis transport ask more often whether there is a message.

    Who stops waiting waits for the answer to its last question, by default a second.
    """
    transport: Any = kombu.transport.redis.Transport
    original = getattr(transport, "brpop_timeout", None)
    if original is None:  # Kombu 5.5 cannot be told
        yield
        return
    transport.brpop_timeout = 0.1
    yield
    transport.brpop_timeout = original


@pytest.fixture(scope="session", autouse=True)
def _known_versions() -> Iterator[None]:
    """Read the version of a package once; redis-py does it for each connection."""
    module: Any = importlib.metadata
    original = module.version
    module.version = functools.cache(original)
    yield
    module.version = original


@pytest.fixture(scope="module", autouse=True)
def _shared_tasks_of_the_module() -> Iterator[None]:
    """Take back what a module's tests share: else every later app gets its tasks."""
    state: Any = celery._state
    shared: set[Any] = state._on_app_finalizers
    before = set(shared)
    yield
    shared.intersection_update(before)


@pytest.fixture(scope="module", autouse=True)
def _garbage_of_the_module() -> Iterator[None]:
    """Collect what a module's tests left, so that no other module is blamed."""
    yield
    gc.collect()


@pytest.fixture
def unique() -> str:
    """A name that no other test and no other session uses."""
    return f"{_SESSION}n{next(_COUNTER)}n"


@pytest.fixture
def threads_only() -> Iterator[None]:
    """Send what has a driver to the thread tier, too."""
    drivers = registry.schemes()
    for scheme in drivers:
        registry.forget(scheme)
    yield
    for scheme, driver in drivers.items():
        registry.register(scheme, driver)


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> str:
    """A broker by name, for `parametrize(..., indirect=True)`.

    `"memory"` (the default), `"redis"`, `"amqp"`, or a URL, which is returned
    as it is.
    """
    name = getattr(request, "param", "memory")
    if name in _SERVER_FIXTURES:
        return str(request.getfixturevalue(f"{name}_url"))
    return "memory://" if name == "memory" else str(name)
