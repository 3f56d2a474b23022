from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any

import pytest
import redis
from redis.exceptions import DataError

from celery_async_bridge.drivers.redis.pack import pack, pack_all

_Connection: Any = redis.Connection
SYNC = _Connection()


class Text(str):
    pass


class Number(enum.IntEnum):
    ONE = 1


def outcome(call: Any) -> Any:
    try:
        return call()
    except Exception as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize(
    "value",
    [
        *(b"x", bytes(range(256)), bytearray(b"x"), memoryview(b"x")),
        *("x", "ü€", "", Text("x"), "\ud800"),
        *(0, -1, 2**70, 1.5, 0.1, 1e300, float("inf")),
        *(True, None, Number.ONE, Decimal(1), [1], (1,), {}, {1}, object),
    ],
    ids=repr,
)
def test_arguments_are_those_of_the_sync_connection(value: Any) -> None:
    theirs = outcome(lambda: b"".join(SYNC.pack_command("SET", "key", value)))
    ours = outcome(lambda: pack(("SET", "key", value)).data)
    assert ours == theirs
    assert (
        outcome(lambda: pack_all([("PING",), ("SET", "key", value)]).data) == theirs
        if isinstance(theirs, tuple)
        else pack_all([("SET", "key", value)]).data == theirs
    )


def test_what_redis_has_no_type_for() -> None:
    for value in (None, True, object()):
        with pytest.raises(DataError):
            pack(("SET", "key", value))


@pytest.mark.parametrize(
    "args",
    [("SCRIPT LOAD", "x"), (b"CONFIG GET", "x"), ("get", "x"), (b"PING",), ("PING",)],
)
def test_names_of_two_words(args: tuple[Any, ...]) -> None:
    assert pack(args).data == b"".join(SYNC.pack_command(*args))


def test_commands_that_stay_together() -> None:
    commands: list[tuple[Any, ...]] = [("MULTI",), ("SET", "k", 1), ("EXEC",)]
    packed = pack_all(iter(commands))
    assert packed.data == b"".join(b"".join(SYNC.pack_command(*c)) for c in commands)
    assert packed.commands == commands
    assert list(packed) == [packed.data]


def test_what_is_known_of_a_command() -> None:
    packed = pack_all([("MULTI",), (b"script load", "x"), ("Get", "k"), ("EXEC",)])
    assert packed.is_block
    assert packed.names == {"MULTI", "SCRIPT", "GET", "EXEC"}
    assert not pack(("MULTI",)).is_block
    assert not pack_all([("MULTI",), ("GET", "k")]).is_block
