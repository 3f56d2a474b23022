"""Twins for the classes of `kombu.transport.virtual`."""

__all__ = ()
