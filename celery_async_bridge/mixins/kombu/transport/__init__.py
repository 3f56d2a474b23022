"""Twins for the classes of `kombu.transport`."""

__all__ = ()
