"""A Django project; its Celery app is there as soon as Django is."""

from .celery import app as celery_app

__all__ = ("celery_app",)
