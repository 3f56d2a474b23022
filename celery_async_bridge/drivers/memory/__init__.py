"""`memory://` and `cache+memory://`: nothing blocks, waiting is by events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import backend as _backend
from . import broker as _broker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...core.graft import Seam
    from ...core.registry import Looks
    from ...core.route import Endpoint

__all__ = ("MemoryDriver",)


class MemoryDriver:
    """Native driver of the in-process broker and result backend.

    Upstream's code runs inline on the loop. It shares its state with stock peers of the
    same process: they see our messages and results, and theirs wake our waiters.
    """

    name = "memory"
    sides = frozenset({"broker", "backend"})
    waits = sides
    pushes = frozenset[str]()
    suspends = False

    def takes(self, endpoint: Endpoint) -> bool:
        """Whatever it is: nothing of memory blocks."""
        return True

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event of a connection, as soon as there is one.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        return await _broker.drain(connection, timeout)

    def drain_blocking(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event in a thread of the bridge.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        return _broker.drain_blocking(connection, timeout)

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        """Return the meta of a task as soon as its state is ready.

        Raises:
            TimeoutError: it was not ready within `timeout` seconds.
        """
        return await _backend.wait(backend, task_id, timeout)

    def feed(self, backend: Any, key: Any, looks: Callable[[], Looks]) -> None:
        """Return nothing: `wait` is woken by the store itself."""

    def status(self) -> list[dict[str, Any]]:
        """Return nothing: memory has no connections."""
        return []

    def install(self) -> list[Seam]:
        """Return the observers and the waits that the driver needs."""
        return [*_broker.seams(), *_backend.seams()]
