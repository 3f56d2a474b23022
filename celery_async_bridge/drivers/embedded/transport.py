"""Kombu's transport for `embedded://`."""

from __future__ import annotations

from typing import Any

from kombu.transport import base, pyamqp

from .address import name_of
from .desk import alone, sends
from .link import Connection

__all__ = ("Transport",)


_Base: Any = pyamqp.Transport


class Transport(_Base):  # type: ignore[misc]
    """Kombu's AMQP transport on a broker of this process.

    Transport options: `confirm_publish`, as for AMQP; `delay_eta` (True): whether the
    broker holds tasks of Celery back until their `eta`, instead of a worker.
    """

    Connection = Connection
    can_parse_url = True
    default_port = None
    driver_name = "embedded"

    implements = base.Transport.implements.extend(
        asynchronous=False,
        heartbeats=False,
        exchange_type=frozenset(["direct", "topic", "fanout", "headers"]),
    )

    def driver_version(self) -> str:
        """Return the version of this package."""
        from importlib.metadata import version

        return version("celery-async-bridge")

    def establish_connection(self) -> Any:
        """Open a session with the broker that the URL names.

        Raises:
            ValueError: the URL says more than a name or a path.
            ConnectionError: the broker, or its file, belongs to another process.
            OSError: the file cannot be written.
        """
        options = self.client.transport_options or {}
        connection = self.Connection(
            name_of(self.client.hostname),
            delays=options.get("delay_eta", True),
            confirm_publish=options.get("confirm_publish", False),
        )
        connection.client = self.client
        connection.connect()
        self.client.__dict__["_bridge_sends"] = sends
        return connection

    def create_channel(self, connection: Any) -> Any:
        """Open a channel."""
        channel = super().create_channel(connection)
        vars(channel)["_bridge_alone"] = alone
        return channel

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return the URL: there is nothing to hide in it."""
        return uri

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Do nothing: there is no descriptor to watch."""
