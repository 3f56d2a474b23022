"""Twins for `celery.result.GroupResult`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .._route import backend_route
from .._waiting import in_tier
from ..backends._route import backend_object_route

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("GroupResultMixin",)


def _route(backend: Any, app: Any) -> Route:
    # Not `app.backend`: that would build one for this thread, which may do I/O.
    return backend_route(app) if backend is None else backend_object_route(backend)


class GroupResultMixin:
    """Awaitable methods of `celery.result.GroupResult`, on top of `ResultSet`'s."""

    app: Any
    id: str
    backend: Any

    async def asave(self, backend: Any = None) -> Any:
        """Await the storage of this group, so that `arestore` finds it.

        Mirrors `celery.result.GroupResult.save`.

        Arguments:
            backend: where; the app's result backend by default.
        """
        save = partial(self.save, backend=backend)  # type: ignore[attr-defined]
        return await in_tier(_route(backend, self.app), save)

    async def adelete(self, backend: Any = None) -> None:
        """Await the removal of a group that was stored by `asave`.

        Mirrors `celery.result.GroupResult.delete`.
        """
        delete = partial(self.delete, backend=backend)  # type: ignore[attr-defined]
        await in_tier(_route(backend, self.app), delete)

    @classmethod
    async def arestore(cls, id: str, backend: Any = None, app: Any = None) -> Any:
        """Await a group that was stored by `asave`; None if there is none.

        Mirrors `celery.result.GroupResult.restore`.

        Arguments:
            id: the id of the group.
            backend: where it is; the app's result backend by default.
            app: the app; the current one by default.
        """
        from celery import current_app

        restore = partial(cls.restore, id, backend=backend, app=app)  # type: ignore[attr-defined]
        own = getattr(cls, "app", None)
        found = app or (current_app if isinstance(own, property) else own)
        return await in_tier(_route(backend, found), restore)
