"""Commands as bytes, together with what must be known of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from redis.connection import HiredisRespSerializer

__all__ = ("Packed", "pack", "pack_all")

#: redis-py's own, so that a call on the loop takes and refuses what a sync one does.
_serializer: Any = HiredisRespSerializer()


class Packed:
    """One or more commands that are written in one piece.

    It iterates like the list of chunks that redis-py's own connections return.

    Attributes:
        data: the bytes.
        commands: the arguments of each command, as they were given.
    """

    __slots__ = ("commands", "data")

    def __init__(self, data: bytes, commands: list[tuple[Any, ...]]) -> None:
        self.data = data
        self.commands = commands

    def __iter__(self) -> Iterator[bytes]:
        yield self.data

    @property
    def is_block(self) -> bool:
        """Whether this is a whole MULTI ... EXEC."""
        first, last = self.commands[0][0], self.commands[-1][0]
        return bool(first == "MULTI" and last == "EXEC")

    @property
    def names(self) -> set[str]:
        """The names of the commands, in upper case."""
        return {_name(args[0]) for args in self.commands}


@lru_cache(maxsize=256)
def _name(word: str | bytes) -> str:
    text = word.decode() if isinstance(word, bytes) else str(word)
    return text.partition(" ")[0].upper()


def _bytes(args: tuple[Any, ...]) -> bytes:
    return b"".join(_serializer.pack(*args))


def pack(args: tuple[Any, ...]) -> Packed:
    """Pack one command.

    Raises:
        redis.exceptions.DataError: an argument is of a type that Redis has not.
    """
    return Packed(_bytes(args), [args])


def pack_all(commands: Iterable[tuple[Any, ...]]) -> Packed:
    """Pack commands that must stay together.

    Raises:
        redis.exceptions.DataError: an argument is of a type that Redis has not.
    """
    listed = list(commands)
    return Packed(b"".join([_bytes(args) for args in listed]), listed)
