"""Twins for Kombu."""

__all__ = ()
