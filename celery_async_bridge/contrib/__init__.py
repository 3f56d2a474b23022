"""What connects the bridge with web frameworks; nothing of it is imported unasked."""

__all__ = ()
