"""An app of the user's on a broker of this process, for a while."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ("on_embedded",)

#: Where an app looks for its servers first, before its own configuration.
_VARIABLES = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
)


@contextmanager
def on_embedded(app: Any, **conf: Any) -> Iterator[str]:
    """Have an app use a broker and a result backend of its own in this process.

    What it is configured for, also by the environment, holds again afterwards; what was
    sent meanwhile is gone. The bridge is installed, and stays so.

    Arguments:
        app: the Celery app.
        **conf: more of its settings, for as long.

    Yields:
        the URL of the broker, which is new.
    """
    from ..embedded import places
    from ..install import install

    install()
    name = f"test-{uuid.uuid4().hex}"
    url = f"embedded://{name}"
    servers = dict.fromkeys(("broker_url", "broker_read_url", "broker_write_url"), url)
    settings = {**servers, "result_backend": url, **conf}
    with ExitStack() as stack:
        stack.callback(places.forget, name)
        for variable in _VARIABLES:
            if variable in os.environ:
                stack.callback(os.environ.__setitem__, variable, os.environ[variable])
                del os.environ[variable]
        changes = app.conf.changes
        stack.callback(changes.update, dict(changes))
        stack.callback(changes.clear)
        app.conf.update(settings)
        # What it keeps of a broker and of a backend, in this thread and in others.
        for owner, attribute, value in (
            (app, "_pool", None),
            (app.amqp, "_producer_pool", None),
            (app, "backend_cls", None),
            (app, "_backend_cache", None),
            (app, "_local", threading.local()),
        ):
            stack.callback(setattr, owner, attribute, getattr(owner, attribute))
            setattr(owner, attribute, value)
        yield url
