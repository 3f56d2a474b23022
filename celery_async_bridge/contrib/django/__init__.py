"""For Django: the entry of `INSTALLED_APPS`, and what a project may import.

Naming it in `INSTALLED_APPS` installs the bridge when Django has loaded its apps. The
names here are loaded on demand, because Django imports this package before its apps.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import CeleryTaskBackend as CeleryTaskBackend
    from .capture import async_on_commit_capture as async_on_commit_capture
    from .task import AsyncDjangoTask as AsyncDjangoTask

__all__ = ("AsyncDjangoTask", "CeleryTaskBackend", "async_on_commit_capture")

_PLACES = {
    "AsyncDjangoTask": "task",
    "CeleryTaskBackend": "backend",
    "async_on_commit_capture": "capture",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{place}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
