"""Twins for `celery.contrib`."""

__all__ = ()
