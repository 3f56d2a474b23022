"""The messages of a queue that wait for a consumer, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .message import Entry

__all__ = ("Ready",)


class _Bucket:
    """The messages of one priority: the fresh ones, and those that came back."""

    __slots__ = ("back", "fresh")

    def __init__(self) -> None:
        self.fresh: deque[Entry] = deque()
        self.back: list[Entry] = []

    def head(self) -> Entry | None:
        if self.back and (not self.fresh or self.back[0] < self.fresh[0]):
            return self.back[0]
        return self.fresh[0] if self.fresh else None

    def pop(self) -> Entry:
        if self.back and (not self.fresh or self.back[0] < self.fresh[0]):
            return heappop(self.back)
        return self.fresh.popleft()


class Ready:
    """Entries by priority, highest first, and in order of arrival.

    Arguments:
        levels: the highest priority; 0 for a queue without priorities.
    """

    __slots__ = ("_buckets", "length", "size")

    def __init__(self, levels: int = 0) -> None:
        self._buckets = [_Bucket() for _ in range(levels + 1)]
        self.length = 0
        #: Bytes of all bodies.
        self.size = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Entry]:
        """Go through the entries, in no order."""
        for bucket in self._buckets:
            yield from bucket.fresh
            yield from bucket.back

    def add(self, entry: Entry) -> None:
        """Append a new entry."""
        self._buckets[entry.priority].fresh.append(entry)
        self.length += 1
        self.size += len(entry.message.body)

    def put_back(self, entry: Entry) -> None:
        """Put an entry back where it was."""
        heappush(self._buckets[entry.priority].back, entry)
        self.length += 1
        self.size += len(entry.message.body)

    def pop(self) -> Entry:
        """Take the next entry."""
        for bucket in reversed(self._buckets):
            if bucket.fresh or bucket.back:
                return self._taken(bucket.pop())
        raise IndexError("nothing is ready")

    def remove(self, row: int) -> bool:
        """Take out the entry that is stored in a row, if it is here; seldom done."""
        for bucket in self._buckets:
            for entry in bucket.fresh:
                if entry.row == row:
                    bucket.fresh.remove(entry)
                    self._taken(entry)
                    return True
        return False

    def pop_dead(self, dead: Callable[[Entry], bool]) -> list[Entry]:
        """Take the entries that are dead and have none that is alive before them."""
        gone: list[Entry] = []
        while (head := self._head()) is not None and dead(head):
            gone.append(self.pop())
        return gone

    def next_death(self) -> float | None:
        """Return when the next entry dies, if it does."""
        head = self._head()
        return None if head is None else head.expires

    def _head(self) -> Entry | None:
        for bucket in reversed(self._buckets):
            if (head := bucket.head()) is not None:
                return head
        return None

    def clear(self) -> int:
        """Drop everything; return how many entries there were."""
        count, levels = self.length, len(self._buckets) - 1
        self.__init__(levels)  # type: ignore[misc]
        return count

    def _taken(self, entry: Entry) -> Entry:
        self.length -= 1
        self.size -= len(entry.message.body)
        return entry
