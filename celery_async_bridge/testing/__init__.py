"""What tests of users and of driver authors need: contract, tripwire, virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import virtual_time

__all__ = ("virtual_time",)


def __getattr__(name: str) -> Any:
    # Who only wants another part need not have Celery's worker imported.
    if name == "virtual_time":
        from .clock import virtual_time

        return virtual_time
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
