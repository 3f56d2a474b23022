"""The contract suite on every broker, every backend, and every pair of them.

Classes are made of tables: a pair of names is all that one of them adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celery_async_bridge.core import registry
from celery_async_bridge.testing.contract import (
    BackendContract,
    BrokerContract,
    ControlContract,
    PairContract,
    Server,
    TaskContract,
)
from celery_async_bridge.testing.tripwire import tripwire
from tests.contract.places import BACKENDS, BROKERS, DISABLED, backend_of, broker_of
from tests.sweep import ignore_unclosed, sweep

pytestmark = ignore_unclosed

NATIVE = {"memory", "cache+memory", "embedded", "durable", "redis", DISABLED}


class _Placed:
    """The servers of a class, by name; the tripwire where nothing may block."""

    broker_name = "memory"
    backend_name = DISABLED
    threads = False

    @pytest.fixture
    def broker(self, request: pytest.FixtureRequest) -> Server:
        return broker_of(self.broker_name, request)

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest) -> Server | None:
        return backend_of(self.backend_name, request)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def swept(cls) -> Iterator[None]:
        yield
        sweep()

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def tier(cls) -> Iterator[None]:
        if cls.threads:
            with _without_drivers():
                yield
        elif {cls.broker_name, cls.backend_name} <= NATIVE:
            with tripwire():
                yield
        else:
            yield


class _without_drivers:  # reads like the function that it is
    """Send what has a driver to the thread tier, too."""

    def __enter__(self) -> None:
        self.drivers = registry.schemes()
        for scheme in self.drivers:
            registry.forget(scheme)

    def __exit__(self, *exc_info: object) -> None:
        for scheme, driver in self.drivers.items():
            registry.register(scheme, driver)


#: The pairs that all sends are tried on; those in between get a part of them.
WHOLE = (
    ("memory", "cache+memory"),
    ("memory", "database"),
    ("filesystem", "filesystem"),
    ("redis", "redis"),
    ("amqp", "rpc"),
)


def _made(contract: type, broker: str, backend: str, threads: bool = False) -> type:
    parts = [contract.__name__, broker, backend, "threads" if threads else ""]
    name = "Test" + "".join(part.title().replace("+", "") for part in parts)
    lacking = {**BROKERS.get(broker, {}), **BACKENDS.get(backend, {})}
    body: dict[str, Any] = {
        "__module__": __name__,
        "broker_name": broker,
        "backend_name": backend,
        "threads": threads,
        "lacking": lacking,
    }
    return type(name, (_Placed, contract), body)


_CLASSES = [
    *(
        _made(contract, broker, DISABLED, threads)
        for contract in (BrokerContract, ControlContract)
        for broker in BROKERS
        for threads in ((False, True) if broker in NATIVE else (False,))
    ),
    *(_made(TaskContract, broker, backend) for broker, backend in WHOLE),
    # Pairs with others tell nothing new: its sides do not know of each other.
    _made(BrokerContract, "embedded", DISABLED),
    _made(ControlContract, "embedded", DISABLED),
    _made(TaskContract, "embedded", "embedded"),
    _made(BackendContract, "embedded", "embedded"),
    # In a file: there sends and declarations wait for commits. Tasks are as above.
    _made(BrokerContract, "durable", DISABLED),
    _made(BackendContract, "durable", "durable"),
    _made(TaskContract, "memory", "cache+memory", threads=True),
    _made(TaskContract, "redis", "redis", threads=True),
    *(
        _made(PairContract, broker, backend)
        for broker in BROKERS
        for backend in (*BACKENDS, DISABLED)
        if (broker, backend) not in WHOLE
    ),
    *(
        _made(BackendContract, broker, backend, threads)
        for broker, backend in (
            ("memory", "cache+memory"),
            ("memory", "database"),
            ("memory", "filesystem"),
            ("memory", "rpc"),
            ("redis", "redis"),
            ("amqp", "rpc"),
        )
        for threads in ((False, True) if {broker, backend} <= NATIVE else (False,))
    ),
]
globals().update({cls.__name__: cls for cls in _CLASSES})
