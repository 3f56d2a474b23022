"""The a-methods, by upstream path: `mixins/celery/app/task.py` is `celery.app.task`."""

__all__ = ()
