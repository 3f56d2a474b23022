"""`redis://`, `rediss://`, `redis+socket://`, `sentinel://`: calls and results.

Upstream's own code runs in a trampoline; beneath it redis-py gets a share of one
multiplexed connection per loop and server. Messages are claimed over it, too, and those
who wait for them or for results are woken by the server.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .alone import reads
from .bell import bells
from .bury import bury
from .channel import channel_seams
from .consume import desk_at, drain_here
from .consume import drain as _drain
from .ear import ears
from .feeds import feed_for
from .hub import flush_hub, hub_seams, serve_hub
from .mux import muxes
from .returning import returning_seams
from .seam import pool_seams
from .settling import settling_seams
from .subscribe import subscribe_seams
from .unsent import unsent_seams

if TYPE_CHECKING:
    from ...core.graft import Seam
    from ...core.registry import Looks
    from ...core.route import Endpoint

__all__ = ("RedisDriver",)


class RedisDriver:
    """Native driver of Redis as broker and as result backend.

    Calls run on the loop, messages come by `drain`, and results by `feed`.
    """

    name = "redis"
    sides = frozenset({"broker", "backend"})
    waits = frozenset({"broker"})
    pushes = frozenset({"backend"})
    suspends = True

    def takes(self, endpoint: Endpoint) -> bool:
        """Whether calls on an object can run on the loop.

        A Kombu connection that reads from sockets of its own, because sync code has
        drained it, goes on doing so in threads; everything else can.
        """
        if endpoint.target is None:
            return True
        transport = getattr(endpoint.target, "_transport", None)
        return not any(map(reads, getattr(transport, "channels", None) or ()))

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event of a connection, as soon as there is one.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        return await _drain(connection, timeout)

    def drain_here(self, connection: Any, timeout: float | None) -> Any:
        """Deliver one event of a connection in the running trampoline; see `drain`."""
        connection.connection  # noqa: B018 (reading it connects)
        transport = connection.transport
        desk = desk_at(transport)
        vars(connection)["_bridge_at_once"] = desk.at_once
        return drain_here(transport, timeout)

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        """Not here: results are pushed, so `waits` has no "backend".

        Raises:
            NotImplementedError: always; who heeds `waits` does not call it.
        """
        raise NotImplementedError(
            "results on Redis are pushed by `feed`; those that are not are looked up"
        )

    def feed(self, backend: Any, key: Any, looks: Callable[[], Looks]) -> Any:
        """Return the subscription to a backend's results on this loop.

        None for a backend that does not publish what it stores.
        """
        return feed_for(backend, key, looks)

    def bury(self, channel: Any, binding: tuple[str, str, str], lingers: float) -> None:
        """Have nothing left of a reply queue in which a reply may still arrive."""
        bury(channel, binding, lingers)

    def serve_hub(self, hub: Any) -> Callable[[], None]:
        """Claim for what a hub of Kombu's polls; needs `hub_seams`.

        Returns:
            what writes the settlements of messages when the hub does not run.
        """
        serve_hub(hub)
        return partial(flush_hub, hub)

    def hub_seams(self) -> list[Seam]:
        """Return the seams in Kombu's poller."""
        return hub_seams()

    def status(self) -> list[dict[str, Any]]:
        """Return the state of every connection, for `explain()`."""
        calls = [("calls", mux.up, mux.generation) for mux in muxes()]
        results = [("results", ear.up, ear.opened) for ear in ears()]
        messages = [("messages", bell.up, bell.opened) for bell in bells()]
        return [
            {"use": use, "up": up, "opened": opened}
            for use, up, opened in (*calls, *results, *messages)
        ]

    def install(self) -> list[Seam]:
        """Return the seams beneath redis-py and Celery's result consumer."""
        return [
            *pool_seams(),
            *channel_seams(),
            *settling_seams(),
            *returning_seams(),
            *subscribe_seams(),
            *unsent_seams(),
        ]
