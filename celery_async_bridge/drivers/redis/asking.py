"""The claim of a channel that is on its way to the server and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .claim import CLAIM, claimed
from .returns import Waiting

if TYPE_CHECKING:
    from .ledger import Ledger

__all__ = ("Asked", "Asking")


class Asked:
    """What one claim is about.

    Arguments:
        queues: the names, in the order in which they are looked into.
        lists: their keys, all of the first priority step, all of the second, and so on.
        score: when, as it is noted.
        count: how many at most.
    """

    __slots__ = ("count", "lists", "queues", "score")

    def __init__(
        self, queues: tuple[str, ...], lists: Sequence[str], score: float, count: int
    ) -> None:
        self.queues = queues
        self.lists = lists
        self.score = score
        self.count = count

    def found(self, reply: list[Any]) -> list[Waiting]:
        """Return the messages that the server has answered with."""
        queues, lists, score = self.queues, self.lists, self.score
        count = len(queues)
        return [
            Waiting(queues[one.place % count], lists[one.place], one, score)
            for one in claimed(reply)
        ]


class Asking:
    """Claims for one channel, one at a time.

    Arguments:
        ledger: where they are noted.
        came: gets what a claim was about and the server's reply; it must not raise.
        failed: gets what it was about and the error, in a later turn of the loop.
    """

    def __init__(
        self,
        ledger: Ledger,
        came: Callable[[Asked, list[Any]], object],
        failed: Callable[[Asked, BaseException], object],
    ) -> None:
        self._ledger = ledger
        self._came = came
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        #: Whether the server has still to answer.
        self.busy = False
        self._answered: asyncio.Future[None] | None = None

    def ask(self, asked: Asked, noted: bool, turn: str) -> None:
        """Send a claim.

        Arguments:
            asked: what it is about.
            noted: whether what is claimed is unacknowledged then.
            turn: "1" if a queue that was served goes to the end of the line, else "0".
        """
        self.busy = True
        self._ledger.tell(
            CLAIM,
            [*self._ledger.keys, *asked.lists],
            [
                repr(asked.score),
                asked.count,
                len(asked.queues),
                "1" if noted else "0",
                turn,
            ],
            partial(self._told, asked),
        )

    def _told(self, asked: Asked, reply: Any, failure: BaseException | None) -> None:
        if failure is not None:
            # Told at once if there is no connection: whoever asks waits only then.
            self._loop.call_soon(self._lost, asked, failure)
            return
        self._over()
        self._came(asked, reply)

    def _lost(self, asked: Asked, failure: BaseException) -> None:
        self._over()
        self._failed(asked, failure)

    def _over(self) -> None:
        self.busy = False
        if self._answered is not None:
            self._answered.set_result(None)
            self._answered = None

    async def settled(self) -> None:
        """Wait until no claim is on its way."""
        if self.busy:
            if self._answered is None:
                self._answered = self._loop.create_future()
            await asyncio.wait({self._answered})
