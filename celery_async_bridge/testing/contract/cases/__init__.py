"""The tables of cases, one module per part of the surface."""

__all__ = ()
