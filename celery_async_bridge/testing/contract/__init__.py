"""A suite that proves a driver: each twin against its sync method.

Subclass the contracts in a test module, one class per broker, backend, or pair:

    class TestMyBroker(BrokerContract):
        broker_url = "mine://localhost"
        lacking = {"fanout": "the server has no publish/subscribe"}

Both runs of a case use names of their own; what is compared is what came back, what was
raised, the signals with their arguments, and what the servers hold. To look at a server
that is not known here, add a function to `LOOKS` or `BACKEND_LOOKS`, and one that
cleans up to `TIDIES`.
"""

from __future__ import annotations

from .broker import BrokerContract
from .case import Case, compare, observe
from .requirements import CAPABILITIES, Requirements
from .tasks import BackendContract, ControlContract, PairContract, TaskContract
from .wire import BACKEND_LOOKS, LOOKS, TIDIES, Server

__all__ = (
    "BACKEND_LOOKS",
    "CAPABILITIES",
    "LOOKS",
    "TIDIES",
    "BackendContract",
    "BrokerContract",
    "Case",
    "ControlContract",
    "PairContract",
    "Requirements",
    "Server",
    "TaskContract",
    "compare",
    "observe",
)
