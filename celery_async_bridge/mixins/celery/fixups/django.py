"""What Celery does to Django's connections around each task, where a loop runs.

There is no twin: workers call it, and nobody else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from ....core.graft import Seam
from ....core.trampoline import in_trampoline

__all__ = ("fixup_seams",)


def _close_database(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def _close_database(self: Any) -> None:
        # On the loop's thread Django refuses, and the task has not used that thread's.
        if not in_trampoline():
            original(self)

    return _close_database


def fixup_seams() -> list[Seam]:
    """Return the row, if an app has been made: that imports the module."""
    module = sys.modules.get("celery.fixups.django")
    if module is None:
        return []
    why = "the thread of the loop is not where a task has Django's connections"
    return [
        Seam(module.DjangoWorkerFixup, "_close_database", _close_database, "c", why)
    ]
