"""Commands."""

__all__ = ()
