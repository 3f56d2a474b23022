"""What a worker owes a server with which its connection has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .claim import ACK, GIVE_BACK
from .hub_line import Lost
from .ledger import CHUNK, giving_back

if TYPE_CHECKING:
    from .hub_line import HubLine
    from .returns import Waiting

__all__ = ("Owed",)


class Owed:
    """Settles messages over the lines of one hub; what one loses, the next one does.

    On the server each step is taken only for what is still noted as it was claimed, so
    none does harm that comes twice, late, or after a failover.
    """

    def __init__(self) -> None:
        #: Tag and score of messages to be forgotten.
        self.acks: list[tuple[str, float]] = []
        #: Messages that nobody has seen.
        self.returns: list[Waiting] = []
        #: The scores of claims that were not answered.
        self.doubtful: list[float] = []

    def catch_up(self, line: HubLine, keys: tuple[str, str], found: Any) -> None:
        """Do over a new line what the last one has left.

        Arguments:
            line: it.
            keys: the hash of unacknowledged messages and its index.
            found: gets the tags of a claim that was not answered.
        """
        acks, self.acks = self.acks, []
        returns, self.returns = self.returns, []
        doubtful, self.doubtful = self.doubtful, []
        self.settle(line, keys, acks)
        self.give_back(line, keys, returns, noted_only=True)
        for score in doubtful:
            name = repr(score)
            told = partial(self._found, found, score)
            line.send(told, "ZRANGEBYSCORE", keys[1], name, name)

    def _found(
        self, found: Callable[[list[str]], object], score: float, reply: Any
    ) -> None:
        if isinstance(reply, Lost):
            self.doubtful.append(score)
        elif isinstance(reply, list):
            found([tag.decode() for tag in reply])

    def settle(
        self, line: HubLine, keys: tuple[str, str], acks: Sequence[tuple[str, float]]
    ) -> None:
        """Have messages forgotten."""
        for start in range(0, len(acks), CHUNK):
            part = acks[start : start + CHUNK]
            args = [word for tag, score in part for word in (tag, repr(score))]
            line.run(partial(_kept, self.acks, part), ACK, keys, args)

    def give_back(
        self,
        line: HubLine,
        keys: tuple[str, str],
        messages: Sequence[Waiting],
        *,
        noted_only: bool = False,
    ) -> None:
        """Put messages back to where they came from, to be next there."""
        if messages:
            pairs = [(one.key, one.message) for one in messages]
            told = partial(_kept, self.returns, messages)
            line.run(told, GIVE_BACK, *giving_back(keys, pairs, noted_only))


def _kept(owed: list[Any], part: Iterable[Any], reply: Any) -> None:
    if isinstance(reply, Lost):
        owed += part
