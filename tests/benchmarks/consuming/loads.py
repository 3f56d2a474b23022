"""What the rows do, and the messages that they find."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

__all__ = ("LOADS", "Load", "fill")


@dataclass(frozen=True)
class Load:
    """One load.

    Attributes:
        kind: "drain" takes what lies in the queues, "pingpong" sends to a simple queue
            and takes it out again, "idle" waits for nothing and is then woken.
        consumers: each with a channel and a queue of its own, on one connection.
        count: messages in all; for "idle", seconds.
    """

    kind: str
    consumers: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.consumers}"

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
    )
}


def fill(url: str, load: Load) -> None:
    """Put the messages of a load into its queues, as Kombu would."""
    import kombu
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
