"""Blocking waits inside a bridge thread, cut in slices so that they can end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_any
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .turn import Turn

__all__ = ("SLICE", "Conversation", "Interrupted", "current_conversation")

T = TypeVar("T")

#: Seconds that one wait inside a thread lasts before it looks around: the time that a
#: cancelled wait may go on, and that another user of the same connection waits.
SLICE = 0.1
#: Seconds by which a poll may end too early: it counts in milliseconds.
TICK = 0.005


class Interrupted(BaseException):
    """Unwinds the sync code of a conversation whose caller has left."""


class Conversation:
    """A sync call in a thread whose waits and pauses end when its caller leaves.

    Arguments:
        turn: the turn that the call holds while upstream's code runs.
        lends: offer the turn to others between two slices of a wait.
    """

    def __init__(self, turn: Turn | None = None, *, lends: bool = False) -> None:
        self._mutex = threading.Lock()
        self._left = threading.Event()
        self._landed = False
        self._turn = turn
        self._held = [] if turn is None else [turn]
        self._lends = lends and turn is not None
        #: Whether the call has come to its first wait or pause.
        self.waits = False

    def leave(self) -> bool:
        """Tell the thread that nobody waits for it (from any thread).

        Returns:
            Whether its value had landed before: then it is the caller's to dispose of.
        """
        with self._mutex:
            self._left.set()
            return self._landed

    def land(self) -> bool:
        """Hand the value over; False if the caller has gone (from the thread)."""
        with self._mutex:
            self._landed = not self._left.is_set()
            return self._landed

    @property
    def left(self) -> bool:
        """Whether the caller has gone."""
        return self._left.is_set()

    def check(self) -> None:
        """Raise `Interrupted` if the caller has gone."""
        if self._left.is_set():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the caller leaves."""
        self.waits = True
        with self._without(*(self._held if self._lends else ())):
            self._left.wait(seconds)
        self.check()

    def wait(self, future: Future[T]) -> T:
        """Return the result of a coroutine that the loop runs for this thread.

        Every turn is given up meanwhile: the coroutine may use the connection.

        Raises:
            Interrupted: the caller has left; the future is cancelled.
        """
        self.waits = True
        with self._without(*self._held):
            while not self.left and not wait_for_any({future}, SLICE).done:
                pass
        if self.left:
            future.cancel()
            raise Interrupted
        return future.result()

    def sliced(
        self,
        wait: Callable[[float], T],
        timeout: float | None,
        nothing: type[BaseException],
        turn: Turn | None = None,
    ) -> T:
        """Call `wait(seconds)` in slices until it returns or `timeout` is over.

        Arguments:
            wait: waits for at most so many seconds.
            timeout: seconds in all, or None.
            nothing: what `wait` raises when nothing came.
            turn: the turn of what is waited on, taken for each slice, where it is not
                the one that the conversation holds anyway.

        Raises:
            Interrupted: the caller has left.
            BaseException: `nothing`, raised by the last slice.
        """
        self.waits = True
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            self.check()
            left = SLICE if end is None else min(SLICE, end - time.monotonic())
            left = max(left, 0.0)
            try:
                with self._holding(turn):
                    begun = time.monotonic()
                    return wait(left)
            except nothing:
                now = time.monotonic()
                if end is not None and now >= end:
                    raise
                # What came before the slice was over is somebody else's: a user's
                # callback, or a timeout of the connection itself.
                if now - begun < left - TICK:
                    raise
            self._offer()

    @contextmanager
    def _holding(self, turn: Turn | None) -> Iterator[None]:
        if turn is None or turn in self._held:
            yield
            return
        if not turn.acquire_blocking(unless=self._left):
            raise Interrupted
        self._held.append(turn)
        try:
            yield
        finally:
            self._held.remove(turn)
            turn.release()

    @contextmanager
    def _without(self, *turns: Turn) -> Iterator[None]:
        for turn in turns:
            turn.release()
        try:
            yield
        finally:
            # Also when the caller has left: the sync code unwinds, and its `finally`
            # clauses use what the turns protect.
            for turn in turns:
                turn.acquire_blocking()

    def _offer(self) -> None:
        if self._lends and any(turn.wanted for turn in self._held):
            with self._without(*self._held):
                pass

    @contextmanager
    def taking_turn(self) -> Iterator[None]:
        """Wait for the turn in the thread, and give it back at the end."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire_blocking(unless=self._left):
            raise Interrupted
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the conversation of the running thread."""
        previous = current_conversation()
        _here.conversation = self
        try:
            yield
        finally:
            _here.conversation = previous


class _Here(threading.local):
    conversation: Conversation | None = None


_here = _Here()


def current_conversation() -> Conversation | None:
    """Return the conversation that the running thread executes."""
    return _here.conversation
