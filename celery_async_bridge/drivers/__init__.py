"""Native drivers, one room per URL scheme."""

__all__ = ()
