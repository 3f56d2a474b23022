"""What a subscription connection has been asked, in order, and who waits for that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ("Answer", "Expected", "answer_all")

#: Gets the values that were read; None if there are none.
Answer = Callable[["list[Any] | None"], object]


def answer_all(waiters: list[asyncio.Future[bool]], answer: bool) -> None:
    """Tell those who wait still."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(answer)


class _Command:
    """One command: its name, how many acks it has, and whom they concern."""

    __slots__ = ("answer", "left", "name", "waiters")

    def __init__(self, name: bytes, left: int, answer: Answer | None = None) -> None:
        self.name = name
        self.left = left
        self.answer = answer
        self.waiters: list[asyncio.Future[bool]] = []


class Expected:
    """Matches replies with commands: a server answers those of a connection in order.

    A subscription is answered once for each channel, or by one error.
    """

    def __init__(self) -> None:
        self._sent: deque[_Command] = deque()
        #: Those among them that subscribe.
        self._joins: deque[_Command] = deque()

    def acks(self, name: bytes, count: int) -> None:
        """Expect the acks of `subscribe` or `unsubscribe` for so many channels."""
        command = _Command(name, count)
        self._sent.append(command)
        if name == b"subscribe":
            self._joins.append(command)

    def reply(self, answer: Answer | None = None) -> None:
        """Expect one reply, and give it to `answer`."""
        self._sent.append(_Command(b"", 1, answer))

    def when_subscribed(self, waiters: list[asyncio.Future[bool]]) -> bool:
        """Answer waiters when all channels are subscribed; False if they are."""
        if not self._joins:
            return False
        self._joins[-1].waiters += waiters
        return True

    def take_ack(self, name: bytes) -> None:
        """Take one ack, and tell those who wait for the last one of a command."""
        if name == b"subscribe" and self._joins:
            # Nobody waits for an UNSUBSCRIBE, so that one may stay unanswered.
            while self._sent[0].name == b"unsubscribe":
                self._sent.popleft()
        if not self._sent or self._sent[0].name != name:
            return
        head = self._sent[0]
        head.left -= 1
        if not head.left:
            self._pop()
            answer_all(head.waiters, True)

    def take_reply(self, value: Any) -> bool:
        """Take what is no ack; False if it does not fit what was asked."""
        if not self._sent:
            return True
        if self._sent[0].name:
            return False
        head = self._pop()
        if head.answer is not None:
            head.answer(value if isinstance(value, list) else None)
        return True

    def take_error(self) -> bool:
        """Take an error; return whether it refuses a subscription."""
        if not self._sent:
            return False
        head = self._pop()
        answer_all(head.waiters, False)
        if head.answer is not None:
            head.answer(None)
        return head.name == b"subscribe"

    def lose(self) -> None:
        """Nothing is answered any more."""
        sent, self._sent = self._sent, deque()
        self._joins.clear()
        for command in sent:
            answer_all(command.waiters, False)
            if command.answer is not None:
                command.answer(None)

    def _pop(self) -> _Command:
        head = self._sent.popleft()
        if head.name == b"subscribe":
            self._joins.popleft()
        return head
