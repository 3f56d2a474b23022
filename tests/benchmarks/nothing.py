"""A channel that does nothing: what is left is Kombu's own part of a message."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from kombu import Consumer, Producer, Queue
from kombu.message import Message
from kombu.transport.base import StdChannel

__all__ = ("kombu_alone",)


class _Channel(StdChannel):  # type: ignore[misc,unused-ignore]
    """Keeps what was published last, and hands it over."""

    connection = no_ack_consumers = None
    Message = Message

    def __init__(self) -> None:
        self.last: tuple[Any, dict[str, Any]] = (b"", {})
        self.callback: Any = None

    def prepare_message(
        self,
        body: Any,
        priority: Any = None,
        content_type: Any = None,
        content_encoding: Any = None,
        headers: Any = None,
        properties: Any = None,
    ) -> Any:
        return body, {
            "content_type": content_type,
            "content_encoding": content_encoding,
            "headers": headers,
            "properties": properties,
        }

    def basic_publish(self, message: Any, **kwargs: Any) -> None:
        self.last = message

    def queue_declare(self, queue: str, **kwargs: Any) -> None: ...

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.callback = callback

    def basic_cancel(self, consumer_tag: str) -> None: ...

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None: ...

    def deliver(self) -> None:
        """Have the consumer take a message as it was published last."""
        body, properties = self.last
        self.callback(self.Message(body, channel=self, delivery_tag="1", **properties))


def kombu_alone(count: int) -> list[tuple[float, float]]:
    """Return the CPU and wall seconds of a publish, and of a message's consuming."""
    channel: Any = _Channel()
    producer, taken = Producer(channel), 0

    def received(body: Any, message: Any) -> None:
        nonlocal taken
        taken += 1
        message.ack()

    clocks = [(time.process_time(), time.perf_counter())]
    for number in range(count):
        producer.publish({"n": number}, routing_key="q")
    clocks.append((time.process_time(), time.perf_counter()))
    with Consumer(channel, [Queue("q")], callbacks=[received]):
        for _ in range(count):
            channel.deliver()
    clocks.append((time.process_time(), time.perf_counter()))
    if taken != count:
        raise RuntimeError(f"{taken} of {count} messages")
    return [
        ((cpu - cpu_before) / count, (wall - wall_before) / count)
        for (cpu_before, wall_before), (cpu, wall) in pairwise(clocks)
    ]
