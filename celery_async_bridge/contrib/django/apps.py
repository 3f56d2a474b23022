"""The entry of `INSTALLED_APPS`."""

from __future__ import annotations

from django.apps import AppConfig

from ...install import enabled, install

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
        if enabled():
            from .connections import look_after

            look_after()
