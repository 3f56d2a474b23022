"""The file: SQLite, with what makes it ours; opened, checked, written, closed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .ownership import Ownership

__all__ = ("File",)

#: What SQLite keeps in a file's head for its application: "CABe".
_OURS = 0x43414265
_FORMAT = 1

_SCHEMA = (
    "CREATE TABLE topology (id INTEGER PRIMARY KEY, head TEXT NOT NULL)",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL,"
    " expires REAL, due REAL, redelivered INTEGER NOT NULL, head TEXT NOT NULL,"
    " body BLOB NOT NULL)",
    "CREATE TABLE results (key BLOB PRIMARY KEY, value, expires REAL) WITHOUT ROWID",
    "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)


class File:
    """An open file; used by one thread at a time.

    Arguments:
        path: absolute.

    Raises:
        ConnectionError: (the built-in one) another process owns it.
        FileNotFoundError: there is no such directory.
        PermissionError: it cannot be written.
        ValueError: it is no file of ours, a damaged one, or one of a later version.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _check_place(path)
        self._ownership = Ownership(path)
        try:
            with self._explained():
                self._sql = sqlite3.connect(
                    path, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare()
                except BaseException:
                    self._sql.close()
                    raise
        except BaseException:
            self._ownership.leave()
            raise

    def _prepare(self) -> None:
        (ours,) = self.rows("PRAGMA application_id")
        (tables,) = self.rows("SELECT count(*) FROM sqlite_master")
        if ours[0] != _OURS and (ours[0] or tables[0]):
            raise ValueError(
                f"{self.path} is a database of something else: give embedded:// a file "
                "of its own"
            )
        if not tables[0]:
            with self.transaction():
                for statement in _SCHEMA:
                    self._sql.execute(statement)
                self._sql.execute(f"PRAGMA application_id = {_OURS}")
                self._sql.execute(f"PRAGMA user_version = {_FORMAT}")
        ((version,),) = self.rows("PRAGMA user_version")
        if version != _FORMAT:
            raise ValueError(
                f"{self.path} has format {version}, and this release reads {_FORMAT}: "
                "use the release that has written it"
            )
        self._sql.execute("PRAGMA journal_mode = WAL")
        # A commit that is confirmed survives a power cut, too.
        self._sql.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise PermissionError(
                f"embedded://{self.path} cannot be opened: {exc}: this process must be "
                "able to write the file and its directory, and no other program may "
                "have it open"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise ValueError(
                f"{self.path} is no database, or a damaged one ({exc}): move it away, "
                "or save what is left with `sqlite3 FILE .recover`"
            ) from exc

    def read(self, statement: str) -> Iterator[Any]:
        """Return the rows of a query, one after the other.

        Raises:
            ValueError: the file is damaged.
            PermissionError: it cannot be read.
        """
        with self._explained():
            yield from self._sql.execute(statement)

    def rows(self, statement: str) -> list[Any]:
        """Return the rows of a query."""
        return self._sql.execute(statement).fetchall()

    def run(self, statement: str, rows: Iterable[Any]) -> None:
        """Execute a statement for each row."""
        self._sql.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it, on the disk, or nothing.

        Raises:
            sqlite3.Error: nothing was done; the disk may be full.
        """
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._sql.close()
        self._ownership.leave()

    def leave(self) -> None:
        """Let go of a file that belongs to the parent of this process.

        SQLite's connection stays as it is: closing a copy of it is not allowed.
        """
        self._ownership.leave()


def _check_place(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"there is no directory {folder} for embedded://{path}: create it first"
        )
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"embedded://{path} is a directory: name a file in it, as in "
            f"embedded://{path}/broker.db"
        )
    if not os.access(folder, os.W_OK) or (
        os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)
    ):
        raise PermissionError(
            f"embedded://{path} cannot be written: this process needs the right to "
            f"write the file and its directory {folder}"
        )
