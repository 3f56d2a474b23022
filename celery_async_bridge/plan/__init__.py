"""The compiled publish plan: learned from real sends, proven, then rendered."""

__all__ = ()
