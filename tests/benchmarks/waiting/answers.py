"""Stores real results without a backend: Celery's bytes, many in one write."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from .stock import ANSWER, make_app

__all__ = ("Store",)

_ID = "00000000-0000-0000-0000-000000000000"


class Store:
    """A connection that stores and announces results as Celery's backend does."""

    def __init__(self, port: int) -> None:
        from hiredis import Reader

        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader: Any = Reader()
        app = make_app(f"redis://127.0.0.1:{port}/0", "none")
        backend = app.backend
        meta = backend._get_result_meta(ANSWER, "SUCCESS", None, None)
        # In the order in which `BaseKeyValueStoreBackend._store_result` adds it.
        payload = backend.encode({**meta, "task_id": _ID})
        self._payload = payload.encode() if isinstance(payload, str) else payload
        key = backend.get_key_for_task(_ID)
        expires = int(backend.expires)
        app.close()
        commands: tuple[tuple[bytes, ...], ...] = (
            (b"MULTI",),
            (b"SETEX", key, b"%d" % expires, self._payload),
            (b"PUBLISH", key, self._payload),
            (b"EXEC",),
        )
        #: Replies to one result.
        self.replies = len(commands)
        self._template = b"".join(pack(*words) for words in commands)

    def stored(self, task_id: bytes) -> bytes:
        """The packed commands that store one result."""
        return self._template.replace(_ID.encode(), task_id)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self, count: int) -> list[Any]:
        """Wait for so many replies; return them."""
        found: list[Any] = []
        while True:
            while len(found) < count and (reply := self._reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                found.append(reply)
            if len(found) == count:
                return found
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server is gone")
            self._reader.feed(data)

    def store(self, ids: Iterable[str], at_once: int = 100) -> None:
        """Store results, so many in one write."""
        rest = [one.encode() for one in ids]
        for start in range(0, len(rest), at_once):
            part = rest[start : start + at_once]
            self.send(b"".join(map(self.stored, part)))
            self.read(len(part) * self.replies)


def pack(*words: bytes | str) -> bytes:
    """The bytes of a command."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    pieces = [b"*%d\r\n" % len(encoded)]
    pieces += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
    return b"".join(pieces)
