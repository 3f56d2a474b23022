"""What a loop has once for each server: its connections, by what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...core.loops import LoopLocal

if TYPE_CHECKING:
    from .address import Address

__all__ = ("PerServer",)


class Closable(Protocol):
    """What can be closed."""

    async def aclose(self) -> None:
        """Close it."""
        ...


T = TypeVar("T", bound=Closable)


class PerServer(Generic[T]):
    """One object for each server and running loop, closed with the loop."""

    def __init__(self) -> None:
        self._local: LoopLocal[dict[Any, T]] = LoopLocal(dict, _close_all)

    def get(self, address: Address, make: Callable[[Address], T]) -> T:
        """Return the running loop's object for a server, made on first use."""
        found = self._local.get()
        one = found.get(address.key)
        if one is None:
            one = found[address.key] = make(address)
        return one

    def all(self) -> list[T]:
        """Return those of all live loops of this process."""
        return [one for found in self._local.peek() for one in found.values()]


async def _close_all(found: dict[Any, Any]) -> None:
    for one in list(found.values()):
        await one.aclose()
    found.clear()
