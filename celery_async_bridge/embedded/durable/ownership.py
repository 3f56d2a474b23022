"""One process owns a file: a lock beside it, which ends with the process."""

from __future__ import annotations

import os
import sys
from typing import IO

__all__ = ("Ownership",)

if sys.platform == "win32":
    import msvcrt

    def _seize(file: IO[str]) -> None:
        # The lock keeps others from reading its bytes: not those of the number.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _seize(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class Ownership:
    """The lock of a file, and in it the number of the process that has it.

    Arguments:
        path: of the file; the lock is a file beside it, which stays.

    Raises:
        ConnectionError: (the built-in one) another process owns the file.
        PermissionError: the lock cannot be written.
    """

    def __init__(self, path: str) -> None:
        # Not "w": who does not get the lock must find in it who has it.
        try:
            descriptor = os.open(f"{path}-owner", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise PermissionError(
                f"embedded://{path} needs a file for its lock beside it: {exc}: give "
                "this process the right to write its directory"
            ) from exc
        self._file: IO[str] | None = os.fdopen(descriptor, "r+", encoding="ascii")
        try:
            _seize(self._file)
        except OSError:
            self._file.seek(0)
            owner = self._file.read().strip()
            self.leave()
            who = f"process {owner}" if owner else "another process"
            raise ConnectionError(
                f"embedded://{path} is open in {who}, and one process owns the file: "
                "stop that one, use another file, or a server for several processes, "
                "such as redis:// or amqp://"
            ) from None
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def leave(self) -> None:
        """Close the lock: the owner gives it up, a forked child keeps none of it."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
