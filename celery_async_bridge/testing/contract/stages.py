"""What the scripts act on: a connection or an app of their own, and a stock peer."""

from __future__ import annotations

import time
from typing import Any

from kombu import Connection, Exchange, Queue

from .case import run_name
from .wire import LOOKS, Server, look_at, tidy

__all__ = ("BrokerStage",)


class BrokerStage:
    """A fresh connection and names that belong to this run.

    Attributes:
        run: the name of the run; it is part of every name on the server.
        connection: the connection under test, not yet opened.
        seen: what callbacks of the script have received.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.run = run_name()
        self.names: list[str] = []
        self.seen: list[Any] = []
        self.settle = server.settle
        self.options = server.options(self.run)
        self.connection = self.connect()

    def connect(self) -> Any:
        """Return another connection to the same broker."""
        return Connection(
            self.server.at(self.run),
            transport_options=dict(self.options),
            connect_timeout=5,
        )

    def name(self, stem: str = "q") -> str:
        """Return a name of this run."""
        name = f"{self.run}.{stem}"
        self.names.append(name)
        return name

    def exchange(self, kind: str = "direct", stem: str = "x", **options: Any) -> Any:
        """Return an exchange of this run, neither bound nor declared."""
        return Exchange(self.name(stem), kind, **options)

    def queue(self, kind: str = "direct", stem: str = "q", **options: Any) -> Any:
        """Return a queue with an exchange of its own."""
        options.setdefault("routing_key", "k.1")
        options.setdefault("exchange", self.exchange(kind, f"{stem}x"))
        return Queue(self.name(stem), **options)

    def declare(self, *entities: Any) -> None:
        """As a stock peer, declare entities."""
        with self.connect() as connection:
            for entity in entities:
                entity(connection.default_channel).declare()

    def put(self, queue: Any, *bodies: Any, **options: Any) -> None:
        """As a stock peer, declare a queue and publish messages to it."""
        with self.connect() as connection:
            bound = queue(connection.default_channel)
            bound.declare()
            producer = connection.Producer()
            for body in bodies:
                producer.publish(
                    body,
                    exchange=queue.exchange,
                    routing_key=queue.routing_key,
                    **options,
                )
                time.sleep(self.settle)

    def see(self, body: Any, message: Any) -> None:
        """Keep a message and acknowledge it: a consumer's callback."""
        self.seen.append(body)
        message.ack()

    def look(self) -> Any:
        """Return what the broker holds, and what callbacks have received."""
        held = look_at(LOOKS, self.server, self.run, self.names)
        return {"broker": held, "seen": self.seen}

    def close(self) -> None:
        """Close the connection under test."""
        self.connection.release()

    def tidy(self) -> None:
        """Remove what the run has left."""
        self.close()
        tidy(self.server, self.run, self.names)
