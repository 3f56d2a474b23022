"""`embedded://`: a broker and a result backend inside the process."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from ...core.carry import capture
from ...core.trampoline import spawn
from ..memory.backend import wait
from .desk import at_once
from .feed import StateFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...core.registry import Looks
    from ...core.route import Endpoint

__all__ = ("EmbeddedDriver",)


@lru_cache(maxsize=64)
def _lasts(url: Any) -> bool:
    return isinstance(url, str) and url.startswith("embedded:///") and len(url) > 12


class EmbeddedDriver:
    """Native driver of the broker in this process: nothing blocks, waits are events.

    The transport is the same for sync code and for the a-methods; it sees by itself
    whether it may block a thread or must suspend a call.
    """

    name = "embedded"
    sides = frozenset({"broker", "backend"})
    waits = sides
    pushes = frozenset({"backend"})
    suspends = False

    def takes(self, endpoint: Endpoint) -> bool:
        """Whatever it is: nothing blocks."""
        return True

    def suspends_at(self, endpoint: Endpoint) -> bool:
        """Whether the broker is in a file: then a call waits for its commit."""
        if endpoint.target is None:
            return _lasts(endpoint.key)
        return _lasts(getattr(endpoint.target, "hostname", None))

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event of a connection, as soon as there is one.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        connection.connection  # noqa: B018  # connects, as upstream would
        transport = connection.transport
        read = partial(transport.drain_events, connection.connection, timeout=timeout)
        return await spawn(capture(read))

    def drain_here(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event of a connection in the running trampoline; see `drain`."""
        vars(connection)["_bridge_at_once"] = at_once
        connection.connection  # noqa: B018  # connects, as upstream would
        transport = connection.transport
        return transport.drain_events(connection.connection, timeout=timeout)

    def drain_blocking(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event in a thread of the bridge.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        connection.connection  # noqa: B018  # connects, as upstream would
        transport = connection.transport
        return transport.drain_events(connection.connection, timeout=timeout)

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        """Return the meta of a task as soon as its state is ready.

        Raises:
            TimeoutError: it was not ready within `timeout` seconds.
        """
        return await wait(backend, task_id, timeout)

    def feed(
        self, backend: Any, key: Any, looks: Callable[[], Looks]
    ) -> StateFeed | None:
        """Return what delivers each state that is stored; None for other backends."""
        from .backend import EmbeddedBackend

        own = isinstance(backend, EmbeddedBackend)
        return StateFeed(backend, looks().failure) if own else None

    def status(self) -> list[dict[str, Any]]:
        """Return nothing: there are no sockets."""
        return []

    def install(self) -> tuple[()]:
        """Return nothing: the transport is ours, no seam is needed."""
        return ()
