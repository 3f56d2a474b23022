"""The bridge's settings, read from the app's own configuration."""

from __future__ import annotations

from typing import Any

from ...core.route import DEADLINE, STARTS

__all__ = ("DEFAULTS", "setting")

DEFAULTS: dict[str, Any] = {
    "async_publish_timeout": DEADLINE,
    "async_threads": 32,
    "async_max_inflight": 512,
    "async_start_gate": STARTS,
    "async_retry_uncertain": True,
    "async_debug": False,
    "async_debug_slow": 1.0,
    "async_uvloop": False,
}


def setting(app: Any, name: str) -> Any:
    """Return a setting of the app, or its default."""
    return app.conf.get(name, DEFAULTS[name])
