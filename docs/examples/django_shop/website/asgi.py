"""The site for an ASGI server; with the broker in the process, a worker beside it."""

import os
from contextlib import asynccontextmanager

from django.core.asgi import get_asgi_application

import celery_async_bridge
from celery_async_bridge.contrib.asgi import LifespanMiddleware
from website.celery import app

__all__ = ("application",)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")


@asynccontextmanager
async def _running(_):
    async with celery_async_bridge.lifespan():
        if not app.conf.broker_url.startswith("embedded:"):
            yield
            return
        async with celery_async_bridge.embedded_worker(app):
            yield


application = LifespanMiddleware(get_asgi_application(), lifespan=_running)
