"""Make the patch of one release from its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from .diff import bare, reviewable
from .gains import Gain, gains
from .pins import PinnedFile
from .weaving import Hunk, weave

if TYPE_CHECKING:
    from .reading import Sources

__all__ = ("Patched", "digest", "make")


@dataclass(frozen=True, slots=True)
class Patched:
    """One file, without and with its twins."""

    path: str
    before: bytes
    after: bytes
    hunks: list[Hunk]

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """For each hunk how many original lines are before it, and its length."""
        return tuple((hunk.after, len(hunk.lines)) for hunk in self.hunks)

    @property
    def pin(self) -> PinnedFile:
        """What is pinned of this file."""
        return PinnedFile(digest(self.before), digest(self.after), self.places)

    def diff(self, context: int = 0) -> str:
        """Return the diff; without context it holds no line of upstream's."""
        if context:
            return reviewable(self.path, self.before, self.after, context)
        return bare(self.path, self.hunks)


def digest(data: bytes) -> str:
    """Return the SHA-256 by which files are pinned."""
    return hashlib.sha256(data).hexdigest()


def make(package: str, sources: Sources) -> tuple[list[Patched], list[Gain]]:
    """Return the changed files of a package and what they gain.

    Arguments:
        package: "amqp", "kombu" or "celery".
        sources: its files, and those of the packages whose classes it extends.
    """
    found = sorted(gains(package, sources), key=lambda gain: gain.module)
    done = []
    for module, group in groupby(found, key=lambda gain: gain.module):
        path = sources.path(module) or ""
        before = sources.text(path)
        woven = weave(before, sources.tree(module), list(group))
        done.append(Patched(path, before, *woven))
    return done, found
