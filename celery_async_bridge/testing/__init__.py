"""What tests of users and of driver authors need: contract, tripwire, virtual time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apps import on_embedded as on_embedded
    from .clock import virtual_time as virtual_time
    from .workers import worker_in_thread as worker_in_thread

__all__ = ("on_embedded", "virtual_time", "worker_in_thread")

_HOMES = {"on_embedded": "apps", "virtual_time": "clock", "worker_in_thread": "workers"}


def __getattr__(name: str) -> Any:
    # Who only wants another part need not have Celery's worker imported.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
