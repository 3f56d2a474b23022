"""Twins for `celery.app`."""

__all__ = ()
