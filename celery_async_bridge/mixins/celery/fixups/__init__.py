"""Twins for `celery.fixups`."""

__all__ = ()
