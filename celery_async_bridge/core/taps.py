"""What a caller wants to know of, or do to, the commands that its call writes.

Context variables, because a trampolined call runs in its caller's context: they reach
the connection beneath upstream's code without a parameter through it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = (
    "Outcome",
    "Replay",
    "in_flight",
    "outcome",
    "recorder",
    "replay",
    "retries_uncertain",
)

#: Is told `(connection, commands)` for every batch that the call writes: the native
#: connection, and each command as the tuple of its arguments.
recorder: ContextVar[Callable[[Any, list[tuple[Any, ...]]], None] | None] = ContextVar(
    "celery_async_bridge_recorder", default=None
)


class Replay:
    """A failed first attempt, handed to upstream's own retries.

    The first write of the call raises `failure` instead of being written, so that
    upstream counts it, waits and goes on as if it had made the attempt itself.
    """

    __slots__ = ("_failure", "taken")

    def __init__(self, failure: BaseException) -> None:
        self._failure: BaseException | None = failure
        #: What upstream has been told and has not acted on yet.
        self.taken: BaseException | None = None

    def take(self) -> BaseException | None:
        """Return the failure once, then None."""
        self.taken, self._failure = self._failure, None
        return self.taken


#: The first attempt of the running call, if somebody has made it already.
replay: ContextVar[Replay | None] = ContextVar(
    "celery_async_bridge_replay", default=None
)


class Outcome:
    """What is known of a call that has not ended well.

    Attributes:
        uncertain: whether it may have delivered a message without knowing.
    """

    __slots__ = ("uncertain",)

    def __init__(self) -> None:
        self.uncertain = False


#: Where a driver notes what became of the running call.
outcome: ContextVar[Outcome | None] = ContextVar(
    "celery_async_bridge_outcome", default=None
)

#: Commands that a new connection lets wait for their replies at once.
in_flight: ContextVar[int] = ContextVar("celery_async_bridge_in_flight", default=512)

#: Whether a command that may have been carried out is sent again.
retries_uncertain: ContextVar[bool] = ContextVar(
    "celery_async_bridge_retries_uncertain", default=True
)
