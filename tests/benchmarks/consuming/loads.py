"""What the rows do, and the messages that they find."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

__all__ = ("LOADS", "Load", "fill", "left")


@dataclass(frozen=True)
class Load:
    """One load.

    Attributes:
        kind: "drain" takes what lies in the queues, "pingpong" sends to a simple queue
            and takes it out again, "idle" waits for nothing and is then woken.
        consumers: each with a channel and a queue of its own, on one connection.
        count: messages in all; for "idle", seconds.
        scheme: "redis", or a broker inside the process: "memory" or "embedded".
    """

    kind: str
    consumers: int
    count: int
    scheme: str = "redis"

    @property
    def name(self) -> str:
        where = "" if self.scheme == "redis" else f"{self.scheme}-"
        return f"{where}{self.kind}-{self.consumers}"

    def url(self, port: int) -> str:
        """The URL of its broker.

        Arguments:
            port: of the Redis server.
        """
        places = {"memory": "memory://", "embedded": "embedded://bench"}
        return places.get(self.scheme, f"redis://127.0.0.1:{port}/0")

    @property
    def queues(self) -> list[str]:
        return [f"bench{number}" for number in range(self.consumers)]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def smaller(self) -> Load:
        return replace(self, count=max(self.count // 5, self.consumers, 1))


#: Every load, by its name.
LOADS = {
    load.name: load
    for load in (
        Load("drain", 1, 10_000),
        Load("drain", 100, 10_000),
        Load("pingpong", 1, 1000),
        Load("idle", 1, 5),
        *(
            Load(kind, consumers, count, scheme)
            for scheme in ("memory", "embedded")
            for kind, consumers, count in (
                ("drain", 1, 10_000),
                ("drain", 100, 10_000),
                ("pingpong", 1, 1000),
            )
        ),
    )
}


def left(url: str, load: Load, ask: Callable[..., str]) -> list[int]:
    """Return how many messages are still in each queue, and how many unacknowledged.

    Arguments:
        url: of the broker.
        load: what was to be done.
        ask: asks the Redis server.
    """
    import kombu

    if load.scheme == "redis":
        asked = [ask("LLEN", name) for name in load.queues]
        asked.append(ask("HLEN", "unacked"))
        return [int(answer.lstrip(":")) for answer in asked]
    with kombu.Connection(url) as connection:
        # What was not acknowledged is in its queue again.
        return [connection.SimpleQueue(name).qsize() for name in load.queues]


def fill(url: str, load: Load) -> None:
    """Put the messages of a load into its queues, as Kombu would."""
    import kombu

    if load.scheme != "redis":
        with kombu.Connection(url) as connection:
            producer = connection.Producer()
            for name in load.queues:
                connection.SimpleQueue(name).close()
            for number in range(load.count):
                name = load.queues[number % load.consumers]
                producer.publish({"n": 1}, exchange="", routing_key=name)
        return
    import redis

    with redis.Redis.from_url(url) as server:
        with kombu.Connection(url) as connection:
            connection.Producer().publish({"n": 1}, exchange="", routing_key="model")
        model: Any = json.loads(server.rpop("model"))
        pipe = server.pipeline(transaction=False)
        for number in range(load.count):
            model["properties"]["delivery_tag"] = str(uuid4())
            pipe.lpush(load.queues[number % load.consumers], json.dumps(model))
            if number % 1000 == 999:
                pipe.execute()
        pipe.execute()
