"""`redis://`, `rediss://`, `redis+socket://`, `sentinel://`: calls and results.

Upstream's own code runs in a trampoline; beneath it redis-py gets a share of one
multiplexed connection per loop and server. Results are pushed to those who wait, over
one subscription per loop and backend. Waiting for messages stays in the thread tier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bury import bury
from .channel import channel_seams
from .ear import ears
from .mux import muxes
from .results import feed_for
from .seam import pool_seams
from .subscribe import subscribe_seams

if TYPE_CHECKING:
    from ...core.graft import Seam
    from ...core.route import Endpoint

__all__ = ("RedisDriver",)


class RedisDriver:
    """Native driver of Redis as broker and as result backend.

    Calls run on the loop, and results arrive by `feed`. `waits` is empty: nothing here
    waits by `drain` or `wait`, which the protocol has for drivers that do.
    """

    name = "redis"
    sides = frozenset({"broker", "backend"})
    waits = frozenset[str]()
    pushes = frozenset({"backend"})
    suspends = True

    def takes(self, endpoint: Endpoint) -> bool:
        """Whether calls on an object can run on the loop.

        A Kombu connection that consumes has sockets in a poll, which only a thread can
        use; everything else can.
        """
        if endpoint.target is None:
            return True
        transport = getattr(endpoint.target, "_transport", None)
        return not any(map(_consumes, getattr(transport, "channels", None) or ()))

    async def drain(self, connection: Any, timeout: float | None) -> Any:
        """Not here: Kombu's poll of sockets needs a thread, so `waits` has no "broker".

        Raises:
            NotImplementedError: always; who heeds `waits` does not call it.
        """
        raise NotImplementedError(
            "messages from Redis are awaited in threads, as Kombu polls its sockets"
        )

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any:
        """Not here: results are pushed, so `waits` has no "backend".

        Raises:
            NotImplementedError: always; who heeds `waits` does not call it.
        """
        raise NotImplementedError(
            "results on Redis are pushed by `feed`; those that are not are looked up"
        )

    def feed(
        self, backend: Any, key: Any, fetch: Any, failure: Any, decode: Any = None
    ) -> Any:
        """Return the subscription to a backend's results on this loop.

        None for a backend that does not publish what it stores.
        """
        return feed_for(backend, key, fetch, failure, decode)

    def bury(self, channel: Any, binding: tuple[str, str, str], lingers: float) -> None:
        """Have nothing left of a reply queue in which a reply may still arrive."""
        bury(channel, binding, lingers)

    def status(self) -> list[dict[str, Any]]:
        """Return the state of every connection, for `explain()`."""
        calls = [("calls", mux.up, mux.generation) for mux in muxes()]
        results = [("results", ear.up, ear.opened) for ear in ears()]
        return [
            {"use": use, "up": up, "opened": opened}
            for use, up, opened in (*calls, *results)
        ]

    def install(self) -> list[Seam]:
        """Return the seams beneath redis-py and Celery's result consumer."""
        return [*pool_seams(), *channel_seams(), *subscribe_seams()]


def _consumes(channel: Any) -> bool:
    return bool(
        getattr(channel, "_consumers", None)
        or getattr(channel, "_in_poll", None)
        or getattr(channel, "_in_listen", None)
    )
