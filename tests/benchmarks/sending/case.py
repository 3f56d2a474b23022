"""What a row is told: the load, the servers, a name for its queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..control import Control
    from .scenario import Scenario

__all__ = ("Case",)


@dataclass(frozen=True)
class Case:
    """One run of one row.

    Attributes:
        load: what to send.
        port: of the Redis server.
        amqp: URL of RabbitMQ.
        name: of the queue; nobody else uses it.
        control: asks the Redis server.
    """

    load: Scenario
    port: int
    amqp: str
    name: str
    control: Control

    @property
    def redis(self) -> str:
        """URL of the Redis server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def counted(self, command: str, key: str) -> Callable[[], Awaitable[int]]:
        """How many messages a Redis command says there are under a key."""

        async def count() -> int:
            return int(self.control.ask(command, key))

        return count
