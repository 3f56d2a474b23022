"""How the worker's own consumer takes messages, where a driver can better it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.registry import driver_for
from ..install import sew
from ..mixins.kombu._route import scheme_of

__all__ = ("Claims", "claims_for")

#: Gets the hub that a worker runs; returns what writes the settlements of messages when
#: that hub does not run.
Claims = Callable[[Any], Callable[[], object]]


def claims_for(app: Any) -> Claims:
    """Put the driver's seams in place; to be called before the worker connects."""
    with app.connection_for_read() as connection:
        driver = driver_for(scheme_of(connection), "broker")
    serve: Claims | None = getattr(driver, "serve_hub", None)
    if driver is None or serve is None:
        return _nothing
    sew(getattr(driver, "hub_seams", tuple)())
    return serve


def _nothing(hub: Any) -> Callable[[], object]:
    return bool
