"""Twins for `celery.contrib.django`."""

__all__ = ()
