"""Fixtures for the tests of Kombu's twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from kombu import Connection, Exchange, Queue

BROKERS = ("memory", "redis", "amqp")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `url` on every broker."""
    if "url" in metafunc.fixturenames:
        metafunc.parametrize("broker_url", BROKERS, indirect=True)


@pytest.fixture
def url(broker_url: str) -> str:
    """URL of a broker."""
    return broker_url


@pytest.fixture
def named(url: str, unique: str) -> Iterator[Callable[..., str]]:
    """Make a name of a queue and exchange; both are deleted after the test."""
    names: list[str] = []

    def make(name: str = "q") -> str:
        names.append(f"{unique}.{name}")
        return names[-1]

    yield make
    with Connection(url) as connection:
        for name in dict.fromkeys(names):
            # The memory transport does not know an exchange that nobody declared.
            with suppress(KeyError), connection.channel() as channel:
                Queue(name, channel=channel).delete()
                Exchange(name, channel=channel).delete()
