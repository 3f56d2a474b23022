"""Apply the patches to installed packages, and take them out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import record
from .atomic import JOURNAL, Change, commit, locked, recover
from .receipt import NAME, Receipt, entry_of
from .state import Look, look, pinned

if TYPE_CHECKING:
    from pathlib import Path

    from .making import Patched

__all__ = ("apply", "is_interrupted", "revert", "states")


def is_interrupted(root: Path) -> bool:
    """Whether patching was interrupted; the next `apply` or `revert` undoes it."""
    return (root / JOURNAL).exists()


def apply(root: Path) -> list[Path]:
    """Give the installed packages their twins; return the files of Python that changed.

    Arguments:
        root: the site-packages directory.

    Raises:
        Refused: nothing was changed; the text says why.
        OSError: a file could not be written; then everything is as it was.
    """
    with locked(root):
        recover(root)
        looks = look(root)
        made = pinned(root, looks)
        changes = [
            change
            for one in looks
            for change in _patching(root, one, made[one.place.package])
        ]
        return _done(root, changes)


def revert(root: Path) -> list[Path]:
    """Take the twins out; return the files of Python that changed.

    Needs no pins: what was put in where is noted beside the packages.

    Arguments:
        root: the site-packages directory.

    Raises:
        Refused: nothing was changed; the text says why.
        OSError: a file could not be written; then everything is as it was.
    """
    with locked(root):
        recover(root)
        changes = [c for one in look(root) for c in _cleaning(root, one)]
        return _done(root, changes)


def states(root: Path) -> dict[str, str]:
    """Say of each package whether it is "patched", "not patched" or "partly patched".

    Raises:
        Refused: it can neither be used as it is nor be patched.
    """
    looks = look(root)
    made = pinned(root, looks)
    return {
        f"{one.place.package} {one.place.version}": _state(one, made[one.place.package])
        for one in looks
    }


def _state(one: Look, made: list[Patched]) -> str:
    new = [patch for patch in made if one.contents[patch.path] == patch.after]
    if len(new) == len(made):
        return "patched"
    if len(one.patched) > len(new):
        return "patched by another release of the bridge"
    return "partly patched" if new else "not patched"


def _done(root: Path, changes: list[Change]) -> list[Path]:
    changed = [change for change in changes if change.before != change.after]
    if not changed:
        return []
    commit(root, changed)
    return [change.path for change in changed if change.path.suffix == ".py"]


def _patching(root: Path, one: Look, made: list[Patched]) -> list[Change]:
    if one.receipt is not None and _state(one, made) == "patched":
        return []
    entries = [entry_of(patch, _mtime(root, one, patch.path)) for patch in made]
    # What an earlier patch has touched and this one does not becomes as it was.
    files = {path: one.plain[path] for path in one.patched}
    files.update((patch.path, patch.after) for patch in made)
    changes = [Change(root / path, one.contents[path], files[path]) for path in files]
    listed = _record(one)
    # Its lines as they were without twins, whatever has been done to it since.
    rows = record.updated(listed.plain, files, {})[1] if listed else []
    data = Receipt(one.place.version, entries, rows).dump()
    if listed:
        after, _ = record.updated(listed.plain, files, {_note(one): data})
        changes.append(Change(listed.path, listed.found, after))
    note = one.place.info / NAME
    before = note.read_bytes() if one.receipt else None
    return [*changes, Change(note, before, data)]


def _cleaning(root: Path, one: Look) -> list[Change]:
    changes = [
        Change(
            root / path, one.contents[path], one.plain[path], _mtime(root, one, path)
        )
        for path in one.patched
    ]
    if one.receipt is None:
        return changes
    listed = _record(one)
    if listed:
        changes.append(Change(listed.path, listed.found, listed.plain))
    note = one.place.info / NAME
    return [*changes, Change(note, note.read_bytes(), None)]


def _mtime(root: Path, one: Look, path: str) -> int | None:
    """Return when a file without its twins was modified, if that is known."""
    if path not in one.patched:
        return (root / path).stat().st_mtime_ns
    entry = one.receipt.entry(path) if one.receipt else None
    return entry.mtime if entry else None


class _Record(NamedTuple):
    path: Path
    found: bytes
    plain: bytes


def _record(one: Look) -> _Record | None:
    """Return RECORD as it is and was; packages of Linux distributions have none."""
    path = one.place.info / "RECORD"
    if not path.exists():
        return None
    found = path.read_bytes()
    if one.receipt is None:
        return _Record(path, found, found)
    return _Record(path, found, record.restored(found, one.receipt.rows, _note(one)))


def _note(one: Look) -> str:
    return f"{one.place.info.name}/{NAME}"
