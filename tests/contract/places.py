"""The servers that the contract is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import celery

from celery_async_bridge.testing.contract import Server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

#: Transport -> capability that it lacks -> why.
BROKERS: dict[str, dict[str, str]] = {
    "memory": {},
    "filesystem": {"order": "files of one millisecond have no order"},
    "redis": {},
    "amqp": {},
}

_NO_KEYS = {"keys": "not a key-value store", "incr": "", "expire": ""}

_KEEPING = {"forget": "Celery before 5.7 gives what came twice to the next who waits"}

#: Backend -> capability that it lacks -> why.
BACKENDS: dict[str, dict[str, str]] = {
    "cache+memory": {},
    "redis": {} if celery.VERSION >= (5, 7) else _KEEPING,
    "database": _NO_KEYS,
    "filesystem": {"incr": "not supported", "expire": "not supported"},
    "rpc": {
        **_NO_KEYS,
        "results": "results go to the one who sent the task",
        "groups": "groups cannot be saved",
    },
}

DISABLED = "disabled"


def _prefixed(run: str) -> dict[str, Any]:
    return {"global_keyprefix": f"{run}:"}


def _redis(request: pytest.FixtureRequest) -> Server:
    return Server(str(request.getfixturevalue("redis_url")), _prefixed)


def _amqp(request: pytest.FixtureRequest) -> Server:
    # With confirms a message is in its queue when the publish returns. RabbitMQ still
    # may count it a moment later.
    url = str(request.getfixturevalue("amqp_url"))
    return Server(url, lambda run: {"confirm_publish": True}, settle=0.01)


def _folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue("tmp_path")
    return path


def _files(request: pytest.FixtureRequest) -> Server:
    root = _folder(request)

    def options(run: str) -> dict[str, Any]:
        folders = {
            "data_folder_in": root / run / "queues",
            "data_folder_out": root / run / "queues",
            "control_folder": root / run / "exchanges",
            "processed_folder": root / run / "processed",
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return {**{k: str(v) for k, v in folders.items()}, "store_processed": True}

    return Server("filesystem://", options, settle=0.002)


def _result_files(request: pytest.FixtureRequest) -> Server:
    folder = _folder(request) / "results"
    folder.mkdir(exist_ok=True)
    return Server(f"file://{folder}", _prefixed)


def _durable(request: pytest.FixtureRequest, *options: Any) -> Server:
    return Server(f"embedded://{_folder(request).resolve()}/broker.db", *options)


_BROKERS: dict[str, Callable[[pytest.FixtureRequest], Server]] = {
    "memory": lambda request: Server("memory://"),
    "embedded": lambda request: Server("embedded://contract"),
    "durable": _durable,
    "filesystem": _files,
    "redis": _redis,
    "amqp": _amqp,
}

_BACKENDS: dict[str, Callable[[pytest.FixtureRequest], Server | None]] = {
    DISABLED: lambda request: None,
    "rpc": lambda request: Server("rpc://"),
    "cache+memory": lambda request: Server("cache+memory://", _prefixed),
    "embedded": lambda request: Server("embedded://contract", _prefixed),
    "durable": lambda request: _durable(request, _prefixed),
    "redis": _redis,
    "database": lambda request: Server(
        f"db+sqlite:///{_folder(request)}/{{run}}.sqlite"
    ),
    "filesystem": _result_files,
}


def broker_of(name: str, request: pytest.FixtureRequest) -> Server:
    """Return a broker by name; skips where there is none."""
    return _BROKERS[name](request)


def backend_of(name: str, request: pytest.FixtureRequest) -> Server | None:
    """Return a backend by name; skips where there is none."""
    return _BACKENDS[name](request)
