"""The bridge with the memory driver, also where the package is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import Celery

from celery_async_bridge.core import registry
from celery_async_bridge.drivers.memory import MemoryDriver
from celery_async_bridge.install import install, journal, uninstall

SCHEMES = ("memory", "cache+memory")


@contextmanager
def native_memory() -> Iterator[None]:
    """Install with the driver; leave everything as it was found."""
    known = registry.schemes()
    was_installed = journal() is not None
    missing = [scheme for scheme in SCHEMES if scheme not in known]
    if missing:
        uninstall()
        driver = MemoryDriver()
        for scheme in missing:
            registry.register(scheme, driver)
    install()
    try:
        yield
    finally:
        if missing or not was_installed:
            uninstall()
        for scheme in missing:
            registry.forget(scheme)
        if was_installed:
            install()


def memory_app(name: str, **settings: object) -> Any:
    """Make an app with a queue of its own."""
    app: Any = Celery(
        name, broker="memory://", backend="cache+memory://", set_as_current=False
    )
    app.conf.update(task_default_queue=name, **settings)
    # By default every app of the process gets the tasks of all others.
    app.task = partial(app.task, shared=False)
    return app
