"""The error of this room."""

from __future__ import annotations

__all__ = ("Refused",)


class Refused(Exception):
    """Nothing was changed; the text says why, and what to do."""
