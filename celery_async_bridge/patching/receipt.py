"""The note of what was put in where, so that any release of the bridge can take it out.

It lies in the metadata directory of the patched package and is listed in its RECORD, so
that uninstalling the package removes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .making import Patched, digest
from .refusal import Refused
from .weaving import unweave

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("NAME", "Entry", "Receipt", "entry_of", "read")

NAME = "celery-async-bridge.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One patched file.

    Attributes:
        path: below the site-packages directory.
        before: its SHA-256 without the twins.
        after: its SHA-256 with them.
        mtime: when the file without them was modified, in nanoseconds; None if that
            is not known.
        places: for each hunk how many original lines are before it, and its length.
    """

    path: str
    before: str
    after: str
    mtime: int | None
    places: tuple[tuple[int, int], ...]

    def restored(self, data: bytes) -> bytes:
        """Return the file without the twins.

        Raises:
            Refused: it has been changed since.
        """
        found = unweave(data, self.places) if digest(data) == self.after else b""
        if digest(found) != self.before:
            raise Refused(f"{self.path} was changed after it was patched: reinstall it")
        return found


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done to one package.

    Attributes:
        version: the release of the package.
        entries: its patched files.
        rows: their lines in RECORD as they were.
    """

    version: str
    entries: list[Entry] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    def entry(self, path: str) -> Entry | None:
        """Return what is known of a file."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def dump(self) -> bytes:
        """Return the text of the file."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def entry_of(patched: Patched, mtime: int | None) -> Entry:
    """Return the entry for a file that is about to be patched."""
    pair = digest(patched.before), digest(patched.after)
    return Entry(patched.path, *pair, mtime, patched.places)


def read(info: Path) -> Receipt | None:
    """Return the receipt in a metadata directory, if there is one.

    Raises:
        Refused: it cannot be read.
    """
    try:
        data = json.loads((info / NAME).read_text(encoding="utf-8"))
        return Receipt(data["version"], [*map(_entry, data["entries"])], data["rows"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        raise Refused(f"{info / NAME} is damaged: reinstall the package") from exc


def _entry(data: dict[str, Any]) -> Entry:
    places: Sequence[Sequence[int]] = data.pop("places")
    return Entry(**data, places=tuple((start, length) for start, length in places))
