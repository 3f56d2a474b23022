"""The journal of a broker: what it says of what lasts, and the thread that writes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .batch import Batch
from .file import File
from .receipt import Receipt, settle

if TYPE_CHECKING:
    from ..broker import Broker
    from ..message import Message

__all__ = ("Journal",)

#: Seconds without work after which the thread ends; the next change starts another.
LINGER = 1.0
#: Seconds until what could not be written is tried again, if nothing comes before.
RETRY = 1.0

#: What was said in one turn, and who waits for it.
Said = tuple[list[tuple[Any, ...]], list[Receipt]]


class Journal:
    """Writes what lasts of one broker into a file, in commits of what has gathered.

    What the broker says it says under its lock. `seal()` ends a turn: a commit has all
    of a turn, or nothing. The thread takes no lock that a loop might have to wait for.

    Arguments:
        path: of the file.
        broker: whose it is.
        load: fills the broker with what is in the file; returns the last row.
        ended: called, outside of the lock, when the file could not be opened.

    Attributes:
        is_open: whether the file has been read.
        count: of the changes so far; one that is the same later: nothing was changed.
        row: the last one that was given away.
    """

    def __init__(
        self,
        path: str,
        broker: Broker,
        load: Callable[[File, Broker], int],
        ended: Callable[[], None],
    ) -> None:
        self.path = path
        self.is_open = False
        self.count = 0
        self.row = 0
        self._broker = broker
        self._load = load
        self._ended = ended
        self._said: list[tuple[Any, ...]] = []
        self._asked: list[Receipt] = []
        self._turns: SimpleQueue[Said | None] = SimpleQueue()
        #: What could not be written yet.
        self._left = Batch()
        self._file: File | None = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = False

    # -- what the broker says ------------------------------------------------

    def keep(
        self,
        queue: int,
        message: Message,
        expires: float | None,
        due: float | None = None,
        redelivered: bool = False,
    ) -> int:
        """Store a message of a queue; return its row.

        Arguments:
            queue: the queue's row.
            message: what is stored.
            expires: when it dies, on the broker's clock; None for never.
            due: when it comes into the queue, on the broker's clock; None: it is there.
            redelivered: whether somebody has had it.
        """
        self.row += 1
        times = self._lasting(expires), self._lasting(due)
        self._say("keep", self.row, (queue, message, *times, redelivered))
        return self.row

    def _lasting(self, when: float | None) -> float | None:
        """Return a time of this process as one that means something in the next."""
        if when is None:
            return None
        clock = self._broker.clock
        return when - clock.monotonic() + clock.time()

    def note(self, *head: Any) -> int:
        """Store an exchange, a queue or a binding; return its row."""
        self.row += 1
        self._say("note", self.row, list(head))
        return self.row

    def forget(self, row: int) -> None:
        """Remove what was kept or noted."""
        self._say("forget", row)

    def empty(self, queue: int) -> None:
        """Remove a queue, and all that was kept of it."""
        self._say("empty", queue)

    def result(self, key: Any, value: Any, end: float | None) -> None:
        """Store a result under its key, until it ends on the broker's clock."""
        self._say("result", key, (value, self._lasting(end)))
        self.seal()

    def drop_result(self, key: Any) -> None:
        """Remove a result."""
        self._say("result", key, None)
        self.seal()

    def _say(self, what: str, *about: Any) -> None:
        self.count += 1
        self._said.append((what, *about))

    def ask(self, receipt: Receipt) -> None:
        """Have somebody told when all that was said so far is on the disk."""
        self._asked.append(receipt)

    def seal(self) -> None:
        """End a turn: hand over what was said in it."""
        if self._said or self._asked:
            turn = self._said, self._asked
            self._said, self._asked = [], []
            self._turns.put(turn)
            if self._thread is None:
                self._start(bool(turn[1]))

    # -- the thread ----------------------------------------------------------

    def open(self, receipt: Receipt) -> None:
        """Wait for the file to be open and read; the first one to ask has it opened."""
        self._turns.put(([], [receipt]))
        if self._thread is None:
            self._start(True)

    def _start(self, waits: bool) -> None:
        with self._starting:
            if self._thread is None and not self._closing:
                thread = threading.Thread(
                    target=self._work, name=f"embedded-{self.path}", daemon=True
                )
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:
                    # The interpreter goes down: `close` writes what nobody waits for.
                    self._thread = None
                    if waits:
                        raise

    def _work(self) -> None:
        if not self.is_open:
            self._open()
        while self._gather():
            if self._failure is None:
                self._commit()
            else:
                settle(self._left.receipts, self._failure)
                self._left = Batch()

    def _open(self) -> None:
        try:
            self._file = File(self.path)
            self.row = self._load(self._file, self._broker)
            self.is_open = True
        except Exception as exc:
            file, self._file = self._file, None
            if file is not None:
                file.close()
            self._failure = exc
            self._broker.left = str(exc)
            self._ended()

    def _gather(self) -> bool:
        """Wait for turns; False, and the thread ends, if none come."""
        if self._turns.empty():
            try:
                self._apply(self._turns.get(timeout=RETRY if self._left else LINGER))
            except Empty:
                return bool(self._left) or self._goes_on()
        self._drain()
        if self._closing:
            self._thread = None
        return not self._closing

    def _goes_on(self) -> bool:
        """End the thread, unless somebody has counted on it just now."""
        # No lock: who says something puts it into the queue, and looks for the thread
        # then; the thread is gone, and looks into the queue then.
        self._thread = None
        if self._turns.empty():
            return False
        with self._starting:
            if self._thread is None:
                self._thread = threading.current_thread()
        return self._thread is threading.current_thread()

    def _drain(self) -> None:
        with suppress(Empty):
            while True:
                self._apply(self._turns.get_nowait())

    def _apply(self, turn: Said | None) -> None:
        if turn is not None:
            said, asked = turn
            for what, *about in said:
                getattr(self._left, what)(*about)
            self._left.receipts += asked

    def _commit(self) -> None:
        assert self._file is not None
        batch = self._left
        try:
            batch.write(self._file)
        except (sqlite3.Error, OSError) as exc:
            error = OSError(
                f"embedded://{self.path} cannot be written: {exc}: is its disk full?"
            )
            receipts, batch.receipts = batch.receipts, []
            settle(receipts, error)
        else:
            self._left = Batch()
            settle(batch.receipts)

    # -- the end -------------------------------------------------------------

    def close(self, last: Callable[[File, Broker], None]) -> None:
        """Write what is left, and give the file to others; any thread, no lock held.

        Arguments:
            last: notes in the file what only an orderly end can tell.

        Raises:
            OSError: something could not be written.
        """
        with self._starting:
            self._closing = True
            self._turns.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._broker.lock:
            file, self._file = self._file, None
            if file is None:
                return
            self._broker.left = f"embedded://{self.path} was closed"
            self._drain()
            error: Exception | None = None
            try:
                self._left.write(file)
                last(file, self._broker)
            except (sqlite3.Error, OSError) as exc:
                error = OSError(
                    f"embedded://{self.path} cannot be written: {exc}; what was not "
                    "confirmed is lost"
                )
            finally:
                file.close()
            settle(self._left.receipts, error)
            if error is not None:
                raise error

    def leave(self) -> None:
        """Let go of everything: this process is a child of its owner."""
        if self._file is not None:
            self._file.leave()
