"""Fanout exchanges are publish/subscribe on Redis: what comes waits to be asked for."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bell import Bell

__all__ = ("Fanout",)

#: Messages that wait before the connection is not read any more.
FULL = 10_000


class Fanout:
    """What is published to the fanout queues of one channel.

    Arguments:
        channel: the channel.
        bell: hears what is published.
        wake: called when something came.
    """

    def __init__(self, channel: Any, bell: Bell, wake: Callable[[], object]) -> None:
        self._channel = weakref.ref(channel)
        self._bell = bell
        self._wake = wake
        self._patterns: set[str] = set()
        #: Pushes, as the server sent them.
        self.came: deque[list[Any]] = deque()

    def __len__(self) -> int:
        return len(self._patterns)

    def subscribe(self) -> None:
        """Listen to what the channel's fanout queues are bound to, and to nothing else.

        As upstream, it does not wait for the server's word.
        """
        channel: Any = self._channel()
        prefix = channel.global_keyprefix
        wanted = {
            prefix + topic
            for queue in channel.active_fanout_queues
            for topic in _topics(channel, queue)
        }
        for pattern in self._patterns - wanted:
            self._bell.unlisten(pattern, self._hears)
        for pattern in wanted - self._patterns:
            self._bell.listen(pattern, self._hears)
        self._patterns = wanted

    def _hears(self, pattern: bytes, name: bytes, payload: bytes) -> None:
        channel = self._channel()
        if channel is None:
            self.close()
            return
        cut = len(channel.global_keyprefix.encode())
        self.came.append([b"pmessage", pattern[cut:], name[cut:], payload])
        if len(self.came) >= FULL:
            self._bell.stop(self)
        self._wake()

    def deliver(self) -> None:
        """Deliver what has waited longest."""
        push = self.came.popleft()
        if len(self.came) < FULL // 2:
            self._bell.go_on(self)
        channel: Any = self._channel()
        with suppress(Empty):  # what it cannot read it has reported
            # Upstream reads it as if it came from its own socket.
            channel._receive_one(_Socket(push))

    def close(self) -> None:
        """Stop listening; what came and was not delivered is gone, as ever."""
        for pattern in self._patterns:
            self._bell.unlisten(pattern, self._hears)
        self._patterns = set()
        self.came.clear()
        self._bell.go_on(self)


class _Socket:
    """What upstream reads one published message from."""

    def __init__(self, push: list[Any]) -> None:
        self._push = push

    def parse_response(self) -> list[Any]:
        """Return the message."""
        return self._push


def _topics(channel: Any, queue: str) -> list[str]:
    # Before Kombu 5.7 there is one for each queue.
    several = getattr(channel, "_get_subscribe_topics", None)
    return list(several(queue)) if several else [channel._get_subscribe_topic(queue)]
