"""Keep RECORD, the list of a package's files with their hashes, true."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Mapping, Sequence

__all__ = ("restored", "updated")


def updated(
    record: bytes, files: Mapping[str, bytes], new: Mapping[str, bytes]
) -> tuple[bytes, list[str]]:
    """Return RECORD with other contents of files, and the lines that were replaced.

    Every other byte stays as it is.

    Arguments:
        record: the file.
        files: contents of files that it lists, by path.
        new: contents of files that it does not list yet.
    """
    lines, before = _lines(record), []
    for place, line in enumerate(lines):
        path = _path(line)
        if path in files:
            before.append(line)
            lines[place] = _row(path, files[path], line)
    like = lines[0] if lines else "\n"
    # First: the last line may have no end.
    first = [_row(path, data, like) for path, data in new.items()]
    return "".join([*first, *lines]).encode(), before


def restored(record: bytes, before: Sequence[str], drop: str) -> bytes:
    """Return RECORD with lines as they were.

    Arguments:
        record: the file.
        before: the lines, as `updated` gave them.
        drop: the path whose line goes.
    """
    old = {_path(line): line for line in before}
    lines = [line for line in _lines(record) if _path(line) != drop]
    return "".join(old.get(_path(line), line) for line in lines).encode()


def _lines(record: bytes) -> list[str]:
    # Bytes: text has more ends of lines, and paths may have them.
    return [line.decode() for line in record.splitlines(keepends=True)]


def _path(line: str) -> str:
    # Quoted only where a path has a comma.
    row = next(csv.reader([line]), None)
    return row[0] if row else ""


def _row(path: str, data: bytes, like: str) -> str:
    end = "\r\n" if like.endswith("\r\n") else "\n"
    code = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    name = f'"{path}"' if "," in path else path
    return f"{name},sha256={code.rstrip('=')},{len(data)}{end}"
