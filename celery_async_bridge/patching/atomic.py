"""Change many files, all or none, also if the process or the machine dies in between.

New and old contents are written beside the files and reach the disk before the first
file is touched; a journal in the root directory says how far it came. Renames do the
rest: they replace a file at once, and break no hard link into a cache of packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .caches import renew
from .making import digest
from .refusal import Refused

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("JOURNAL", "Change", "commit", "locked", "recover")

JOURNAL = ".celery-async-bridge-patches.json"
_NEW, _OLD = ".bridge-new", ".bridge-old"


@dataclass(frozen=True, slots=True)
class Change:
    """One file: what it was and what it becomes; None where there is none.

    Attributes:
        path: the file.
        before: its contents; it is left alone unless it has them.
        after: its contents then.
        mtime: its modification time then, in nanoseconds; else the current time.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    mtime: int | None = None


def commit(root: Path, changes: Sequence[Change]) -> None:
    """Carry out changes below a directory, all of them or none.

    Raises:
        Refused: a file is not what it was when the change was planned, or is a link.
        OSError: something could not be written; then everything is as it was.
    """
    for change in changes:
        if change.path.is_symlink():
            raise Refused(f"{change.path} is a link: patch the file that it points to")
        if _bytes(change.path) != change.before:
            raise Refused(f"{change.path} has just been changed by someone else")
    rows = [_row(root, change) for change in changes]
    try:
        _note(root, "staging", rows)
        for change in changes:
            _stage(change)
        _sync_folders(root, rows)
        _note(root, "swapping", rows)
        for change in changes:
            if change.after is None:
                change.path.unlink()
            else:
                os.replace(_beside(change.path, _NEW), change.path)
        _sync_folders(root, rows)
        _note(root, "done", rows)
    finally:
        # After an error it undoes, after "done" it tidies up.
        recover(root)


def recover(root: Path) -> str:
    """Undo what an interrupted `commit` has done, or tidy up after a complete one.

    Returns:
        how far it had come: "staging", "swapping" or "done"; "" if there was none.
    """
    journal = root / JOURNAL
    try:
        data = json.loads(journal.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _remove(_beside(journal, _NEW))
        return ""
    state, rows = data["state"], data["files"]
    if state == "swapping":
        for row in rows:
            _undo(root / row["path"], row["before"], row["after"])
        _sync_folders(root, rows)
    for row in rows:
        for suffix in (_NEW, _OLD):
            _remove(_beside(root / row["path"], suffix))
    _sync_folders(root, rows)
    if state == "done":
        # Before the journal goes: a compiled form that is not compared with its source
        # would stay for ever.
        renew(root / row["path"] for row in rows)
    _remove(_beside(journal, _NEW))
    _remove(journal)
    _sync_folder(root)
    return str(state)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes that patch the same directory out.

    Raises:
        Refused: there is one.
    """
    try:
        import fcntl
    except ImportError:  # Windows cannot lock a directory
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another process patches {root}: try again") from None
        yield
    finally:
        os.close(handle)


def _undo(path: Path, before: str | None, after: str | None) -> None:
    found, old = _bytes(path), _beside(path, _OLD)
    if (None if found is None else digest(found)) != after:
        # Not yet swapped, or replaced by an installer meanwhile.
        return
    if before is None:
        _remove(path)
    elif old.exists():
        os.replace(old, path)


def _stage(change: Change) -> None:
    if change.before is not None:
        old = _beside(change.path, _OLD)
        _write(old, change.before)
        _dress(old, change.path)
    if change.after is not None:
        new = _beside(change.path, _NEW)
        _write(new, change.after)
        if change.before is not None:
            _dress(new, change.path)
            os.utime(new)
        if change.mtime is not None:
            os.utime(new, ns=(change.mtime, change.mtime))


def _dress(path: Path, like: Path) -> None:
    """Give a file the mode, the times and, if we may, the owner of another."""
    shutil.copystat(like, path)
    if hasattr(os, "chown"):
        owner = like.stat()
        with contextlib.suppress(PermissionError):
            os.chown(path, owner.st_uid, owner.st_gid)


def _note(root: Path, state: str, rows: list[dict[str, Any]]) -> None:
    journal = root / JOURNAL
    new = _beside(journal, _NEW)
    _write(new, json.dumps({"state": state, "files": rows}).encode())
    os.replace(new, journal)
    _sync_folder(root)


def _row(root: Path, change: Change) -> dict[str, Any]:
    hashes = [
        None if data is None else digest(data) for data in (change.before, change.after)
    ]
    path = change.path.relative_to(root).as_posix()
    return {"path": path, "before": hashes[0], "after": hashes[1]}


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}{suffix}")


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(root: Path, rows: Sequence[dict[str, Any]]) -> None:
    for folder in sorted({(root / row["path"]).parent for row in rows}):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a directory; its renames are in its journal.
    if os.name == "nt" or not folder.is_dir():
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
