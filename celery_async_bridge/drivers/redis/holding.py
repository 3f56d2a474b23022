"""What a Kombu channel holds of the server's messages, and how that stays its own."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...core.trampoline import current_call

if TYPE_CHECKING:
    from .ledger import Ledger

__all__ = ("Holding", "Youth", "held_by", "holding_of")

_SLOT = "_bridge_holding"

#: How often, within the visibility timeout, a message is made young again.
OFTEN = 3


class Holding:
    """The messages of one channel that were claimed natively.

    Attributes:
        booked: the score of each message whose delivery is under way.
        held: the score of each one that was delivered and is not settled.
        ledger: where they are noted, once there is a consumer.
        on_release: called when a message was settled.
        on_change: called when the limit or the queues have changed.
        on_settled: gets what became of a settlement for which nobody has waited.
        behind: whether somebody else will wait for what is settled now.
        takes_over: whether a hub settles a message, with others of its turn; it gets
            tag and score.
        on_cancel: called when a consumer was cancelled.
        on_close: called when the channel is about to be closed.
    """

    def __init__(self) -> None:
        self.booked: dict[str, float] = {}
        self.held: dict[str, float] = {}
        self.ledger: Ledger | None = None
        self.on_release: Callable[[], object] = bool
        self.on_change: Callable[[], object] = bool
        self.on_settled: Callable[[BaseException | None], object] = bool
        self.behind: Callable[[], bool] = bool
        self.takes_over: Callable[[str, float], bool] = _never
        self.on_cancel: Callable[[], object] = bool
        self.on_close: Callable[[], object] = bool
        #: The calls in which a callback runs.
        self.calls: set[object] = set()

    @property
    def delivers(self) -> bool:
        """Whether a callback runs in the running call."""
        return bool(self.calls) and current_call() in self.calls

    def is_fresh(self, tag: str, timeout: float) -> bool:
        """Whether nobody can have restored a message yet."""
        score = self.held.get(tag)
        return score is None or time.time() - score < timeout

    def settles_behind(self, tag: str, timeout: float) -> bool:
        """Settle a message with later ones, if a callback or a hub asks.

        Should the connection break before, it is delivered again, and the next wait
        says what has happened.

        Arguments:
            tag: names it.
            timeout: seconds after which others may have it.
        """
        score = self.held.get(tag)
        if score is not None and self.takes_over(tag, score):
            self.release(tag)
            return True
        if (
            score is None
            or not self.behind()
            or not self.delivers
            or time.time() - score >= timeout
        ):
            return False
        assert self.ledger is not None  # or nobody could deliver
        self.ledger.settle_behind(tag, self.on_settled)
        self.release(tag)
        return True

    def release(self, tag: str) -> None:
        """Note that a message is settled."""
        self.held.pop(tag, None)
        self.on_release()


def _never(tag: str, score: float) -> bool:
    return False


def held_by(channel: Any) -> Holding | None:
    """Return what a channel holds, if it ever held anything."""
    found: Holding | None = vars(channel).get(_SLOT)
    return found


def holding_of(channel: Any) -> Holding:
    """Return what a channel holds, made on first use."""
    found = held_by(channel)
    if found is None:
        found = vars(channel)[_SLOT] = Holding()
    return found


class Youth:
    """Makes what a channel holds young again, as long as its loop is alive.

    Arguments:
        ledger: where it is noted.
        holding: what it is.
        timeout: seconds after which a consumer may restore a message.
    """

    def __init__(self, ledger: Ledger, holding: Holding, timeout: float) -> None:
        self._ledger = ledger
        self._holding = holding
        self._seconds = max(timeout / OFTEN, 0.05)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def begin(self) -> None:
        """See to it from now on, until nothing is held any more."""
        if self._timer is None and self._task is None and not self._ended:
            self._timer = self._loop.call_later(self._seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._holding.held:
            # In an empty context: it belongs to no call.
            self._task = contextvars.Context().run(
                self._loop.create_task, self._refresh()
            )
            self._task.add_done_callback(self._done)

    async def _refresh(self) -> None:
        held = self._holding.held
        # What others have by now has no score any more.
        known = {tag: score for tag, score in held.items() if score}
        # What fails now may work the next time; else it is restored, as it must be.
        with suppress(Exception):
            score, gone = await self._ledger.refresh(known)
            for tag in known.keys() & held.keys():
                held[tag] = 0.0 if tag in gone else score

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.begin()

    def end(self) -> None:
        """Leave it to others."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
