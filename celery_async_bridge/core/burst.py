"""Calls of many messages: they leave one behind the other, their replies are read late.

A canvas sends its tasks one by one, and upstream's code waits for each. Nothing in it
looks at the reply to a message, so its messages may wait for their replies together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from inspect import currentframe
from typing import Any, Protocol, TypeVar

from .gate import go_on
from .trampoline import await_, current_call

__all__ = ("Burst", "Owed", "Posting", "burst_here", "bursting", "undisturbed")

T = TypeVar("T")

#: Who may be between a burst and its write: nobody else is told too early that a
#: message was sent.
_UPSTREAM = frozenset({"celery", "celery_async_bridge", "kombu", "redis"})


class Owed(Protocol):
    """A reply that nobody has waited for yet."""

    @property
    def failed(self) -> bool | None:
        """Whether it is an error; None while it is not there."""
        ...

    def read(self) -> object:
        """Wait for it; raise what the write would have raised."""
        ...

    def leave(self) -> None:
        """Do without it; what has not been written is not sent."""
        ...


class Posting:
    """One message of a burst.

    Arguments:
        again: goes on after a failed first attempt as upstream would have done; it
            raises what upstream raises in the end.
    """

    __slots__ = ("again", "replies")

    def __init__(self, again: Callable[[BaseException], object]) -> None:
        self.again = again
        self.replies: list[Owed] = []

    @property
    def failed(self) -> bool | None:
        """Whether one of its replies is an error; None while one is not there."""
        states = [reply.failed for reply in self.replies]
        return True if True in states else None if None in states else False

    def leave(self) -> None:
        """Do without its replies."""
        for reply in self.replies:
            reply.leave()


class Burst:
    """The messages of one call, and what is still owed for them.

    Arguments:
        starts: messages that may leave in one turn of the loop.

    Attributes:
        call: the trampolined call that it belongs to.
        error: what the call must raise, once a message has failed for good.
        posting: the message that is being published, if its replies may be late.
        producers: what the call has borrowed to publish with, last one last.
        settling: whether it waits for all replies just now.
    """

    def __init__(self, starts: int) -> None:
        self.call = current_call()
        self.error: BaseException | None = None
        self.posting: Posting | None = None
        self.producers: list[Any] = []
        self.settling = False
        self._starts = starts
        self._owed: deque[Posting] = deque()

    @property
    def owes(self) -> int:
        """Messages whose replies nobody has seen."""
        return len(self._owed)

    def post(self, posting: Posting, publish: Callable[[], T]) -> T:
        """Publish a message whose replies may be late; the caller is undisturbed.

        First it waits until it may go on: the loop keeps turning.
        """
        await_(go_on(self._starts))
        # Behind the wait: what fails while nobody waits leaves before this message.
        self._look()
        outer, self.posting = self.posting, posting
        try:
            value = publish()
        except BaseException:
            posting.leave()
            raise
        finally:
            self.posting = outer
        if posting.replies:
            self._owed.append(posting)
        return value

    def _look(self) -> None:
        """Forget what is confirmed; go on with what has failed, before more leaves."""
        owed = self._owed
        while owed and (failed := owed[0].failed) is not None:
            if failed:
                self.settle()
                return
            owed.popleft()

    def settle(self) -> None:
        """Wait for all replies.

        Raises:
            Exception: of the first message that has failed for good.
        """
        if self.settling or self.error is not None:
            return
        self.settling = True
        owed = self._owed
        try:
            while owed:
                failure = _failure(owed[0])
                posting = owed.popleft()
                # Not while it is handled: it would be the context of what is raised.
                if failure is not None:
                    posting.leave()
                    try:
                        posting.again(failure)
                    finally:
                        del failure  # or the traceback keeps itself alive
        except Exception as exc:
            self.error = exc
            raise
        finally:
            self.settling = False

    def run(self, fn: Callable[[], T]) -> T:
        """Run the call; when it returns, all its messages are confirmed."""
        token = _current.set(self)
        try:
            try:
                value = fn()
            except Exception:
                # What has failed before comes first, as it would have.
                self.settle()
                raise
            self.settle()
            if self.error is not None:
                raise self.error
            return value
        finally:
            _current.reset(token)
            while self._owed:
                self._owed.popleft().leave()


def _failure(posting: Posting) -> Exception | None:
    """Wait for the replies to a message; return what its write would have raised."""
    try:
        for reply in posting.replies:
            reply.read()
    except Exception as exc:
        return exc
    return None


_current: ContextVar[Burst | None] = ContextVar(
    "celery_async_bridge_burst", default=None
)


def burst_here() -> Burst | None:
    """Return the burst of the running trampolined call, unless it settles just now."""
    burst = _current.get()
    # The tasks that a call starts inherit its context, and must wait for themselves.
    if burst is None or burst.settling or burst.call is not current_call():
        return None
    return burst


def undisturbed() -> bool:
    """Whether there is only upstream's code between the running burst and here.

    Not so within an override, a patch, a tracer or a receiver: whoever may look at
    what becomes of a write finds it done.
    """
    frame = currentframe()
    while frame is not None:
        code = frame.f_code
        if code is _RUN or code is _POST:
            return True
        # Not the name of the function or its module: `functools.wraps` copies them.
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _UPSTREAM:
            return False
        frame = frame.f_back
    return False


_RUN = Burst.run.__code__
#: Up to here somebody has looked already.
_POST = Burst.post.__code__


def bursting(fn: Callable[[], T], starts: int) -> Callable[[], T]:
    """Make a burst of a sync call, where it runs in a trampoline.

    Arguments:
        fn: the call.
        starts: messages that may leave in one turn of the loop.
    """

    def burst() -> T:
        return fn() if current_call() is None else Burst(starts).run(fn)

    return burst
