"""Twins for Celery."""

__all__ = ()
