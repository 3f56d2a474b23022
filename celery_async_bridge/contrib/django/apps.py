"""The entry of `INSTALLED_APPS`."""

from __future__ import annotations

from django.apps import AppConfig

from ...core.carry import register_carrier
from ...install import enabled, install
from ...mixins.celery._route import run_with_django
from ...worker.scopes import register_scope

__all__ = ("BridgeConfig",)


class BridgeConfig(AppConfig):
    """Installs the bridge when Django starts: in a server, a worker and a command.

    It also looks after database connections. Each async task has a thread of its own
    for the ORM, as a request has under ASGI. In the bridge's own threads old
    connections are closed around each call. Sync tasks in eager mode run in the thread,
    and in the transaction, of their caller.

    `CELERY_ASYNC_BRIDGE=0` in the environment switches it off, here as elsewhere.
    """

    name = "celery_async_bridge.contrib.django"
    #: Not the last part of the name, which is `django`.
    label = "celery_async_bridge"
    verbose_name = "Celery async bridge"

    def ready(self) -> None:
        """Install; a second call changes nothing."""
        install()
        if not enabled():
            return
        from .connections import around_lane_call, in_own_thread

        register_carrier(around_lane_call, lanes_only=True)
        register_scope(in_own_thread)
        run_with_django()
