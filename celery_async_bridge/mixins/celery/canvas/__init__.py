"""Twins for `celery.canvas`."""

from __future__ import annotations

from .chain import ChainMixin
from .chord import ChordMixin
from .chunks import ChunksMixin
from .group import GroupMixin
from .maps import BaseMapMixin
from .signature import SignatureMixin

__all__ = (
    "BaseMapMixin",
    "ChainMixin",
    "ChordMixin",
    "ChunksMixin",
    "GroupMixin",
    "SignatureMixin",
)
