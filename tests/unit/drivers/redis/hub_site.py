"""A hub of Kombu's, as a worker runs it, and what it has in its hands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import kombu
import redis
from kombu.asynchronous import Hub

from celery_async_bridge.drivers.redis import hub as module
from celery_async_bridge.install import install, sew

SOON = 20.0
SLOT = "_bridge_hub_intake"


class Site:
    """A hub, a connection that it polls, and a look at the server.

    Attributes:
        got: the messages that came, in order.
    """

    def __init__(
        self, url: str, prefix: str, server: Any = None, **options: Any
    ) -> None:
        install()
        sew(module.hub_seams())
        self.url, self.prefix = url, f"{prefix}:"
        self.options = options
        self.server: Any = server or redis.Redis.from_url(url)
        self.hub: Any = Hub()
        # It must have a timer, or it would wait in its poll.
        self.hub.timer.call_repeatedly(0.02, bool)
        self.got: list[Any] = []
        module.serve_hub(self.hub)
        self.connection: Any = None

    def connect(self, **options: Any) -> Any:
        """Return a connection with a prefix for its keys."""
        made = {"global_keyprefix": self.prefix, **self.options, **options}
        return kombu.Connection(self.url, transport_options=made)

    def put(self, *bodies: Any, name: str = "q", **kwargs: Any) -> None:
        """Publish as stock Kombu does."""
        with self.connect() as connection, connection.Producer() as producer:
            for body in bodies:
                producer.publish(body, routing_key=name, **kwargs)

    def consume(
        self,
        *names: str,
        prefetch: int = 0,
        no_ack: bool = False,
        served: bool = True,
        **options: Any,
    ) -> Any:
        """Begin to consume; return the consumer."""
        self.connection = self.connect(**options)
        transport = self.connection.transport
        if served:
            transport.register_with_event_loop(self.connection.connection, self.hub)
        channel = self.connection.default_channel
        channel.basic_qos(0, prefetch, False)
        consumer = kombu.Consumer(
            channel,
            [kombu.Queue(name) for name in names or ("q",)],
            no_ack=no_ack,
            auto_declare=False,
            on_message=self.got.append,
        )
        consumer.consume()
        return consumer

    @property
    def channel(self) -> Any:
        """The channel that is consumed from."""
        return self.connection.default_channel

    @property
    def intake(self) -> Any:
        """What claims for it."""
        return vars(self.channel)[SLOT]

    def turn(self, times: int = 1) -> None:
        """Have the hub run."""
        for _ in range(times):
            self.hub.run_once()

    def until(self, condition: Callable[[], object]) -> None:
        """Have the hub run until something is so."""
        end = time.monotonic() + SOON
        while not condition():
            assert time.monotonic() < end, "it does not come to pass"
            self.turn()

    def come(self, many: int) -> list[Any]:
        """Have so many messages come, and return their bodies."""
        self.until(lambda: len(self.got) >= many)
        return [message.payload for message in self.got]

    def ack(self, *messages: Any) -> None:
        """Acknowledge, as a task does whose end the hub hears of."""
        for message in messages:
            self.hub.call_soon(message.ack)

    def idle(self) -> None:
        """Have the hub run until the server tells of the next message."""
        self.until(lambda: SLOT in vars(self.channel))
        # The watch was answered: nothing is on its way.
        self.until(lambda: self.intake._watching and not self.intake._line.expects)

    def waiting(self, name: str = "q") -> int:
        """How many messages are in a queue."""
        return int(self.server.llen(self.prefix + name))

    def noted(self) -> dict[str, Any]:
        """What is unacknowledged, by tag."""
        found = self.server.hgetall(f"{self.prefix}unacked")
        index = self.server.zrange(f"{self.prefix}unacked_index", 0, -1)
        assert sorted(found) == sorted(index)
        return {tag.decode(): json.loads(entry) for tag, entry in found.items()}

    def again(self) -> None:
        """Connect anew, as a worker's consumer does."""
        self.connection.collect()
        self.hub.reset()
        self.got.clear()
        self.consume()

    def close(self) -> None:
        """End all of it."""
        if self.connection is not None:
            self.connection.close()
        self.hub.close()
        self.server.close()

    def cut(self) -> None:
        """Have the server end the connection that claims."""
        sock = self.channel.client.connection._sock
        mine = "{}:{}".format(*sock.getsockname())
        self.server.client_kill(mine)
