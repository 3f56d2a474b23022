"""A socket of Kombu's poller: commands in one write, replies without waiting for them.

redis-py's own parser waits for a whole reply, and takes what the server says unasked
for a reply or for nothing at all; both would hold up the hub.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from ssl import SSLWantReadError
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError, InvalidResponse, NoScriptError

from .pack import pack
from .replies import NOTHING, PUSH, new_reader

if TYPE_CHECKING:
    from .claim import Script

__all__ = ("HubLine", "Lost")

#: Gets the reply of a command: an exception if the server has refused it, `Lost` if
#: nobody will ever know.
Told = Callable[[Any], object]

#: Bytes read at once.
_MUCH = 1 << 17


class Lost(ConnectionError):
    """The connection has ended before the reply came."""


class HubLine:
    """One connection of redis-py, connected, of which nobody else reads.

    Arguments:
        connection: the connection.
        pushed: gets what the server says unasked.
    """

    def __init__(self, connection: Any, pushed: Callable[[list[Any]], object]) -> None:
        self.connection = connection
        self._sock = connection._sock
        self._pushed = pushed
        self._reader = new_reader()
        self._expected: deque[Told] = deque()
        self._out: list[bytes] = []

    @property
    def up(self) -> bool:
        """Whether the connection is still the one that this was made for."""
        return self._sock is not None and self.connection._sock is self._sock

    @property
    def expects(self) -> bool:
        """Whether the server has still to answer something."""
        return bool(self._expected)

    def send(self, told: Told, *command: Any) -> None:
        """Have a command leave with the next `flush`."""
        self._out.append(pack(command).data)
        self._expected.append(told)

    def run(
        self, told: Told, script: Script, keys: Sequence[Any], args: Sequence[Any]
    ) -> None:
        """Have a script called with the next `flush`; it need not be known there."""

        def first(reply: Any) -> None:
            if isinstance(reply, NoScriptError):
                self._out.append(script.tell(keys, args).data)
                self._expected.append(told)
            else:
                told(reply)

        self._out.append(script.call(keys, args).data)
        self._expected.append(first)

    def flush(self) -> None:
        """Write what is there.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
        """
        if self._out:
            out, self._out = self._out, []
            # Without redis-py's own PING, whose reply would come after ours.
            self.connection.send_packed_command([b"".join(out)], check_health=False)

    def read(self, seconds: float = 0.0) -> None:
        """Hand out what has come.

        Arguments:
            seconds: how long to wait for something.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
        """
        sock = self._sock
        before = sock.gettimeout()
        sock.settimeout(seconds)
        try:
            while self._receive(sock):
                # TLS may have decrypted more than it has given us.
                sock.settimeout(0.0)
        finally:
            if sock.fileno() >= 0:
                sock.settimeout(before)

    def _receive(self, sock: Any) -> bool:
        try:
            data = sock.recv(_MUCH)
        except (BlockingIOError, SSLWantReadError, TimeoutError):
            return False
        except OSError as exc:
            raise ConnectionError(f"Error while reading from {sock}: {exc}") from exc
        if not data:
            raise ConnectionError("Connection closed by server.")
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NOTHING:
                self._hand_out(reply)
        except InvalidResponse as exc:
            raise ConnectionError(f"Unreadable reply: {exc}") from exc
        return len(data) == _MUCH or hasattr(sock, "pending")

    def _hand_out(self, reply: Any) -> None:
        # Older releases of hiredis have no type for what is pushed.
        if type(reply) is PUSH or (
            isinstance(reply, list) and reply[:1] == [b"invalidate"]
        ):
            self._pushed(reply)
        elif self._expected:
            self._expected.popleft()(reply)

    def settle(self, seconds: float) -> None:
        """Wait until everything is answered, or `seconds` are over.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
        """
        end = time.monotonic() + seconds
        while self._expected and (left := end - time.monotonic()) > 0:
            self.flush()
            self.read(left)

    def lose(self) -> None:
        """Tell everybody who waits for a reply that none will come."""
        self._sock, self._out = None, []
        expected, self._expected = self._expected, deque()
        for told in expected:
            told(Lost("the connection was lost"))
