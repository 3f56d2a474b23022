"""The entry of `INSTALLED_APPS`."""

from __future__ import annotations

from contextlib import suppress

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ...install import enabled, install

__all__ = ("BridgeConfig",)

_BACKEND = f"{__package__}.backend"


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
        from .checks import check_bridge

        register(check_bridge)
        if enabled():
            from .connections import look_after

            look_after()
            _register_runners()


def _register_runners() -> None:
    # A worker must know the tasks of Celery that execute those of `django.tasks` before
    # it has imported any of the latter.
    for params in getattr(settings, "TASKS", {}).values():
        # Django's own check reports what cannot be imported.
        with suppress(ImportError, ImproperlyConfigured, KeyError):
            backend = import_string(params["BACKEND"])
            if any(cls.__module__ == _BACKEND for cls in backend.__mro__):
                from . import runner

                runner.register()
