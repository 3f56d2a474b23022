"""The kombu-free heart: threads, greenlets, loops and the graft."""

__all__ = ()
