"""Write what is put into a file as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .weaving import Hunk

__all__ = ("bare", "reviewable")


def bare(path: str, hunks: Sequence[Hunk]) -> str:
    """Return a diff without context: it holds our own lines and no line of upstream's.

    For `git apply --unidiff-zero`. Without context it fits any file, so whoever applies
    it must compare hashes first.
    """
    lines = [f"--- a/{path}", f"+++ b/{path}"]
    put = 0
    for hunk in hunks:
        lines.append(f"@@ -{hunk.after},0 +{hunk.after + put + 1},{len(hunk.lines)} @@")
        lines += [f"+{line}" for line in hunk.lines]
        put += len(hunk.lines)
    return "\n".join(lines) + "\n"


def reviewable(path: str, before: bytes, after: bytes, context: int) -> str:
    """Return a diff with lines of upstream around ours, for a pull request."""
    # Bytes: text has more ends of lines, some of which are in upstream's files.
    old = [line.decode() for line in before.splitlines(keepends=True)]
    new = [line.decode() for line in after.splitlines(keepends=True)]
    return "".join(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=context))
