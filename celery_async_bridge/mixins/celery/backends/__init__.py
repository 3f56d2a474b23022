"""Twins for `celery.backends`."""

__all__ = ()
