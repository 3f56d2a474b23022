"""Twins for `celery.events`."""

__all__ = ()
