"""Workers that execute async tasks on an event loop."""

__all__ = ()
