"""py-amqp's connection without a socket: a session with a broker of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amqp import spec
from amqp.exceptions import RecoverableConnectionError
from kombu.transport import pyamqp

from ...embedded.places import broker
from ...embedded.session import Session
from .channel import Channel
from .waiting import next_event, opened

__all__ = ("Connection",)


class _Line:
    """What py-amqp takes for its transport."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __del__(self) -> None:
        # As when a socket is collected. Not at once: the collector runs anywhere, in
        # the middle of a call of the broker, too.
        if self.session.open:
            self.session.broker.orphans.append(self.session)

    @property
    def connected(self) -> bool:
        """Whether the session is open."""
        return self.session.open

    def close(self) -> None:
        """End the session."""
        self.session.close()

    @contextmanager
    def having_timeout(self, timeout: float | None) -> Iterator[None]:
        """Do nothing: nothing here takes time."""
        yield


_Base: Any = pyamqp.Connection


class Connection(_Base):  # type: ignore[misc]
    """A connection to a broker of this process.

    Attributes:
        delays: whether tasks of Celery wait in the broker until their `eta`.
    """

    Channel = Channel
    heartbeat = 0

    def __init__(self, name: str = "", *, delays: bool = True, **options: Any) -> None:
        super().__init__(host=f"embedded://{name}", **options)
        self.name = name
        self.delays = delays
        # As a server says it of itself: it tells clients what `basic_qos` means.
        self.server_properties = {
            "product": "RabbitMQ",
            "version": "3.10.8",
            "capabilities": {
                "basic.nack": True,
                "consumer_cancel_notify": True,
                "consumer_priorities": True,
                "exchange_exchange_bindings": True,
                "per_consumer_qos": True,
                "publisher_confirms": True,
            },
        }

    @property
    def lasts(self) -> bool:
        """Whether the broker is in a file, so that calls wait for their commit."""
        return self.session.broker.journal is not None

    @property
    def session(self) -> Session:
        """The session with the broker.

        Raises:
            RecoverableConnectionError: it is closed.
        """
        if self._transport is None:
            raise RecoverableConnectionError("connection already closed")
        session: Session = self._transport.session
        return session

    def connect(self, callback: Any = None) -> Any:
        """Open a session; wait until the broker's file is read, if it has one.

        Raises:
            ConnectionError: the broker belongs to the parent of this process, or its
                file to another one.
            OSError: the file cannot be written.
            ValueError: it is not a file of this broker.
        """
        if not self.connected:
            found = broker(self.name)
            opened(found.journal)
            self._transport = _Line(Session(found))
            self._handshake_complete = True
            self.on_open(self)
        return callback() if callback else None

    def send_method(self, sig: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what py-amqp would write: a connection only ever closes."""
        if sig == spec.Connection.Close:
            self._on_close_ok()

    def drain_events(self, timeout: float | None = None) -> None:
        """Read one thing, and have its channel handle it.

        Raises:
            TimeoutError: (`socket.timeout`) nothing came within `timeout` seconds.
            RecoverableConnectionError: the connection was closed.
        """
        session = self.session
        try:
            event = session.read() or next_event(session, timeout)
        except ConnectionResetError as exc:
            raise RecoverableConnectionError("Connection already closed") from exc
        self._handle(*event)

    def has_event(self) -> bool:
        """Whether there is something to read."""
        return self._transport is not None and bool(self._transport.session.inbox)

    def deliver(self) -> bool:
        """Read one thing, if there is one; return whether there was."""
        event = self.session.read()
        if event is None:
            return False
        self._handle(*event)
        return True

    def _handle(self, number: int, kind: str, args: tuple[Any, ...]) -> None:
        channel = (self.channels or {}).get(number)
        if channel is not None:
            channel.on_event(kind, args)

    def blocking_read(self, timeout: float | None = None) -> bool:
        """Read one thing."""
        self.drain_events(timeout)
        return True
