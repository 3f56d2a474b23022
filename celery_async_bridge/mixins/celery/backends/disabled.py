"""Twins for `celery.backends.base.DisabledBackend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._twin import streams
from ._route import backend_object_route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ....core.route import Route

__all__ = ("DisabledBackendMixin",)


class DisabledBackendMixin:
    """What stands in for a result backend where none is configured."""

    def _bridge_route(self) -> Route:
        return backend_object_route(self)

    @streams
    def aget_many(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Raise at the first step, as the sync method does when it is called.

        Mirrors `celery.backends.base.DisabledBackend.get_many`.

        Raises:
            NotImplementedError: no result backend is configured.
        """
        ...
