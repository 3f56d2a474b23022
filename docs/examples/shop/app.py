"""The Celery app. A stock worker runs it: `celery -A shop.app worker`."""

import os

from celery import Celery

__all__ = ("app",)

app = Celery(
    "shop",
    broker=os.environ.get("SHOP_BROKER", "memory://"),
    backend=os.environ.get("SHOP_BACKEND", "cache+memory://"),
    include=["shop.tasks"],
)
app.conf.update(
    task_default_queue=os.environ.get("SHOP_QUEUE", "shop"),
    result_expires=600,
    broker_connection_retry_on_startup=True,
)
