"""The contract of a broker: every Kombu twin does what its sync method does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from .case import Case, compare, parametrized
from .cases.connections import CONNECTIONS
from .cases.consuming import CONSUMING
from .cases.entities import ENTITIES
from .cases.publishing import PUBLISHING
from .cases.simple import SIMPLE
from .requirements import Requirements
from .stages import BrokerStage
from .wire import Server

__all__ = ("BrokerContract",)


class BrokerContract:
    """Subclass it as `Test...` and say which broker is meant.

    Each test runs one script twice, with the sync methods and with the twins, on names
    of its own, and compares what was returned and raised, the signals, and what the
    broker holds afterwards.

    Attributes:
        broker_url: the broker; override the fixture `broker` for one that a fixture
            provides, or for transport options.
        lacking: capability -> why the transport does not have it.
    """

    broker_url: ClassVar[str] = "memory://"
    lacking: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def broker(self) -> Server:
        """The broker under test."""
        return Server(self.broker_url)

    @parametrized(PUBLISHING)
    def test_publishing(self, broker: Server, case: Case) -> None:
        """Publish with every option set."""
        self._compare(case, broker)

    @parametrized(ENTITIES)
    def test_entities(self, broker: Server, case: Case) -> None:
        """Declare, bind, get, purge, delete; acknowledge and reject."""
        self._compare(case, broker)

    @parametrized(CONNECTIONS)
    def test_connections(self, broker: Server, case: Case) -> None:
        """Connections, channels, pools, consumers."""
        self._compare(case, broker)

    @parametrized(CONSUMING)
    def test_consuming(self, broker: Server, case: Case) -> None:
        """Callbacks, iteration, and what is made on the loop."""
        self._compare(case, broker)

    @parametrized(SIMPLE)
    def test_simple(self, broker: Server, case: Case) -> None:
        """Simple queues and mailboxes."""
        self._compare(case, broker)

    def _compare(self, case: Case, broker: Server) -> None:
        def stage() -> Any:
            return BrokerStage(broker)

        compare(case, stage, Requirements(self.lacking))
