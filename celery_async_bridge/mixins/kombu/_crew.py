"""Async callbacks of one Kombu connection that run side by side."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextvars import Context

__all__ = ("Crew", "crew_at", "crew_of")

_SLOT = "_bridge_crew"

_logger = logging.getLogger(__name__)


class _Member:
    """One callback at work."""

    def __init__(
        self, owner: Any, work: Awaitable[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.owner = owner
        self.work = work
        self.loop = loop
        self.task: asyncio.Task[Any] | None = None
        self.dismissed = False

    async def run(self, crew: Crew, limit: int) -> None:
        if crew.place(self) >= limit:
            await crew.until(lambda: crew.place(self) < limit)
        await self.work

    def cancel(self) -> None:
        self.dismissed = True
        if self.task is not None:
            self.task.cancel()


class Crew:
    """Who is at work for a connection, and how they have ended.

    It is told from the loops and asked from loops and bridge threads.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._members: list[_Member] = []
        self._bells: list[asyncio.Future[None]] = []
        #: Exceptions that nobody has been told.
        self.failures: deque[BaseException] = deque()
        #: Messages that were handled and that no wait has reported.
        self.ended = 0
        #: A message was handed over by a wait that goes on as another one.
        self.handed = False

    def __del__(self) -> None:
        for failure in self.failures:
            _logger.error(
                "A callback has failed, and nobody has waited since", exc_info=failure
            )

    def count(self, owner: Any = None) -> int:
        """Return how many are at work, for one consumer or at all."""
        with self._mutex:
            return sum(owner is None or owner is one.owner for one in self._members)

    @property
    def members(self) -> bool:
        """Whether somebody is at work."""
        return bool(self._members)

    def place(self, member: _Member) -> int:
        """Return how many of the same consumer came before one."""
        with self._mutex:
            mine = [one for one in self._members if one.owner is member.owner]
            return mine.index(member)

    @property
    def news(self) -> bool:
        """Whether somebody has ended."""
        return bool(self.ended or self.failures)

    def report(self) -> bool:
        """Whether a message was handled; each is reported once.

        Raises:
            BaseException: what a callback has raised.
        """
        if not self.news:
            return False
        with self._mutex:
            if self.failures:
                raise self.failures.popleft()
            found, self.ended = bool(self.ended), max(self.ended - 1, 0)
            return found

    def begin(
        self,
        owner: Any,
        work: Awaitable[Any],
        limit: int,
        context: Context,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Have `loop` await `work`, in a copy of a context, beside at most so many."""
        member = _Member(owner, work, loop)
        with self._mutex:
            self._members.append(member)

        def start() -> None:
            member.task = task = loop.create_task(member.run(self, limit))
            task.add_done_callback(lambda done: self._leave(member, done))
            if member.dismissed:
                task.cancel()

        if _runs_here(loop):
            context.run(start)
            return
        try:
            loop.call_soon_threadsafe(start, context=context)
        except RuntimeError:  # the loop was closed
            with self._mutex:
                self._members.remove(member)
            raise

    def _leave(self, member: _Member, done: asyncio.Task[None]) -> None:
        # One that was cancelled before it began has not been awaited.
        getattr(member.work, "close", bool)()
        failure = None if done.cancelled() else done.exception()
        with self._mutex:
            self._members.remove(member)
            if failure is None:
                self.ended += 1
            else:
                self.failures.append(failure)
            bells, self._bells = self._bells, []
        for bell in bells:
            if _runs_here(bell.get_loop()):
                _ring(bell)
            else:
                with suppress(RuntimeError):
                    bell.get_loop().call_soon_threadsafe(_ring, bell)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds; it is looked at when somebody has ended."""
        while True:
            bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # First the bell: members may end on another loop.
            with self._mutex:
                self._bells.append(bell)
            try:
                if condition():
                    return
                await bell
            finally:
                with self._mutex, suppress(ValueError):
                    self._bells.remove(bell)

    def cancel(self, owner: Any = None) -> None:
        """Cancel those of one consumer, or all."""
        with self._mutex:
            members = [
                one for one in self._members if owner is None or owner is one.owner
            ]
        for one in members:
            if _runs_here(one.loop):
                one.cancel()
            else:
                with suppress(RuntimeError):
                    one.loop.call_soon_threadsafe(one.cancel)

    async def finish(self, failed: bool, owner: Any = None) -> None:
        """Wait for those of one consumer, or all.

        Arguments:
            failed: there is an exception already: they are cancelled.
            owner: of those that are meant.

        Raises:
            BaseException: what one of them has raised, unless `failed`.
        """
        if failed:
            self.cancel(owner)
        await self.until(lambda: not self.count(owner))
        if not self.count():
            self.ended = 0
        if not failed:
            self.report()


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def crew_of(connection: Any) -> Crew | None:
    """Return the crew of a connection, if there is one and it ever had one."""
    found: Crew | None = getattr(connection, _SLOT, None)
    return found


def crew_at(connection: Any) -> Crew:
    """Return the crew of a connection, made on first use."""
    found: Crew = vars(connection).setdefault(_SLOT, Crew())
    return found
