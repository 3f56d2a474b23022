"""The twins as source: diffs for upstream's own files, and their application.

Nothing in here imports kombu or celery: it works on their files, installed or not.
"""

__all__ = ()
