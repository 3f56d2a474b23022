"""Force a send through one tier, and see which one it took."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from celery import signals

from celery_async_bridge.core import registry

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = (
    "PLAN",
    "SYNC",
    "THREAD",
    "TIERS",
    "TRAMPOLINE",
    "entered",
    "missing",
    "prepare",
    "witnessed",
)

SYNC, THREAD, TRAMPOLINE, PLAN = "sync", "thread", "trampoline", "plan"
#: The tiers of the twins.
TIERS = (THREAD, TRAMPOLINE, PLAN)

_REDIS = ("redis", "rediss", "redis+socket", "sentinel")


def missing(tier: str) -> str:
    """Return why a tier cannot be tried here; empty if it can."""
    if tier in (TRAMPOLINE, PLAN) and registry.driver_for("redis", "broker") is None:
        return "Redis has no native driver"
    if tier == PLAN and importlib.util.find_spec("celery_async_bridge.plan") is None:
        return "there are no publish plans"
    return ""


@contextmanager
def _without_redis() -> Iterator[None]:
    drivers = registry.schemes()
    for scheme in _REDIS:
        registry.forget(scheme)
    try:
        yield
    finally:
        for scheme in _REDIS:
            if scheme in drivers:
                registry.register(scheme, drivers[scheme])


def entered(tier: str) -> AbstractContextManager[None]:
    """Have every send of the block take a tier, once the app is prepared."""
    return _without_redis() if tier == THREAD else nullcontext()


def prepare(tier: str, app: Any) -> None:
    """Make an app's sends unfit for a plan, where the trampoline is wanted."""
    if tier == TRAMPOLINE:
        # What no plan can see through: an override that adds nothing.
        app.producer_or_acquire = lambda *args, **kwargs: type(app).producer_or_acquire(
            app, *args, **kwargs
        )


def _tier_here() -> str:
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "send_task" and frame.f_code.co_filename.endswith(
            "celery/app/base.py"
        ):
            upstream = True
            break
        frame = frame.f_back
    else:
        upstream = False
    if threading.current_thread() is not threading.main_thread():
        return THREAD
    return TRAMPOLINE if upstream else PLAN


@contextmanager
def witnessed() -> Iterator[list[str]]:
    """Give a list of the tiers that sends take, in their order."""
    taken: list[str] = []

    def look(**kwargs: Any) -> None:
        taken.append(_tier_here())

    signals.before_task_publish.connect(look, weak=False)
    try:
        yield taken
    finally:
        signals.before_task_publish.disconnect(look)
