"""What one commit writes: rows that came, rows that went, results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import codec

if TYPE_CHECKING:
    from ..message import Message
    from .file import File
    from .receipt import Receipt

__all__ = ("Batch",)

#: Queue, message, when it expires and is due (since the epoch), whether it was had.
Stored = tuple[int, "Message", float | None, float | None, bool]


class Batch:
    """Changes that are made together or not at all.

    Attributes:
        receipts: who waits for the commit.
        messages: new ones by row.
        topology: new exchanges, queues and bindings by row.
        gone: rows that are no longer there, of messages and of topology.
        emptied: queues that are gone with all that was in them.
        results: value and end by key; None for one that is gone.
    """

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.messages: dict[int, Stored] = {}
        self.topology: dict[int, list[Any]] = {}
        self.gone: list[int] = []
        self.emptied: list[int] = []
        self.results: dict[Any, tuple[Any, float | None] | None] = {}

    def __bool__(self) -> bool:
        return bool(
            self.messages
            or self.gone
            or self.results
            or self.topology
            or self.emptied
            or self.receipts
        )

    # -- what a journal may say, by the names that it says it with -----------

    def keep(self, row: int, stored: Stored) -> None:
        """Add a message."""
        self.messages[row] = stored

    def note(self, row: int, head: list[Any]) -> None:
        """Add an exchange, a queue or a binding."""
        self.topology[row] = head

    def forget(self, row: int) -> None:
        """Take a row out; one that has not been written yet never is."""
        if self.messages.pop(row, None) is None and not self.topology.pop(row, None):
            self.gone.append(row)

    def empty(self, queue: int) -> None:
        """Take out a queue with all that was in it."""
        self.forget(queue)
        self.emptied.append(queue)

    def result(self, key: Any, new: tuple[Any, float | None] | None) -> None:
        """Set or remove a result."""
        self.results[key] = new

    # -- the disk ------------------------------------------------------------

    def write(self, file: File) -> None:
        """Write everything in one transaction.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with file.transaction():
            file.run(
                "INSERT INTO topology VALUES (?, ?)",
                ((row, codec.write(head)) for row, head in self.topology.items()),
            )
            file.run(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)",
                _written(self.messages.items()),
            )
            gone = [(row,) for row in self.gone]
            file.run("DELETE FROM messages WHERE id = ?", gone)
            file.run("DELETE FROM topology WHERE id = ?", gone)
            emptied = [(row,) for row in self.emptied]
            file.run("DELETE FROM messages WHERE queue = ?", emptied)
            put = [(key, *new) for key, new in self.results.items() if new is not None]
            file.run("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", put)
            dropped = [(key,) for key, new in self.results.items() if new is None]
            file.run("DELETE FROM results WHERE key = ?", dropped)


def _written(messages: Iterable[tuple[int, Stored]]) -> Iterator[tuple[Any, ...]]:
    for row, (queue, message, expires, due, redelivered) in messages:
        head = [message.exchange, list(message.keys), message.properties]
        yield (
            row,
            queue,
            expires,
            due,
            redelivered,
            codec.write(head),
            message.body,
        )
