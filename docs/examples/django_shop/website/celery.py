"""The Celery app: what any Django project with Celery has."""

import os

from celery import Celery

__all__ = ("app",)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")

app = Celery("website")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
