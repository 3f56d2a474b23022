"""A small shop: an ordinary Celery project and an async producer."""

__all__ = ()
