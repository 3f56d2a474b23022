"""What an ASGI server runs."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from celery_async_bridge.contrib.asgi import LifespanMiddleware
from tests.integration.django import proj

application = LifespanMiddleware(get_asgi_application())
app = proj.app
