"""Awaitable twins for every blocking Kombu and Celery method.

Importing this package imports neither celery nor kombu and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# At once and not on demand: importing a submodule binds its name in the package, and
# `install` must never turn out to be a module.
from .explain import explain
from .install import install, uninstall
from .lifespan import aclose, lifespan

if TYPE_CHECKING:
    from .worker.embedded import embedded_worker as embedded_worker

__all__ = (
    "__version__",
    "aclose",
    "embedded_worker",
    "explain",
    "install",
    "lifespan",
    "uninstall",
)

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "embedded_worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .worker.embedded import embedded_worker

    globals()[name] = embedded_worker
    return embedded_worker


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
