"""What a row is told: the load, the servers, the queue."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .scenario import Scenario

__all__ = ("Case",)


@dataclass(frozen=True)
class Case:
    """One run of one row.

    Attributes:
        load: how many wait.
        port: of the Redis server.
        queue: the one that the responder, or the stock worker, consumes from.
    """

    load: Scenario
    port: int
    queue: str

    @property
    def amqp(self) -> str:
        """URL of RabbitMQ, for a row that speaks nothing else."""
        return os.environ.get("BRIDGE_TEST_AMQP_URL", "amqp://127.0.0.1:5672//")

    @property
    def redis(self) -> str:
        """URL of the Redis server."""
        return f"redis://127.0.0.1:{self.port}/0"
