"""Messages that somebody else's wait puts into the buffer of a simple queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.dispatch import talk

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("get", "put_back")

#: The queue for which the running code waits.
_waiting_for: ContextVar[Any] = ContextVar(
    "celery_async_bridge_waiting_for", default=None
)

Bell = asyncio.Future[None]


class _Arrivals:
    """A callback of the queue's consumer that tells the coroutines which wait.

    Whoever drains a connection delivers the messages of all its consumers. In sync code
    nobody else waits meanwhile; coroutines do, and would sleep on beside a full buffer.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._bells: deque[Bell] = deque()

    def __call__(self, body: Any, message: Any) -> None:
        # One who waits for this very queue takes the message itself.
        if _waiting_for.get() is not self._queue:
            self.ring()

    def ring(self) -> None:
        """Wake the one who has waited longest (from any thread)."""
        with suppress(IndexError):
            bell = self._bells.popleft()
            # A closed loop has nobody who waits.
            with suppress(RuntimeError):
                bell.get_loop().call_soon_threadsafe(_set, bell)

    def join(self) -> Bell:
        """Wait from now on."""
        bell: Bell = asyncio.get_running_loop().create_future()
        self._bells.append(bell)
        return bell

    def leave(self, bell: Bell) -> None:
        """Wait no longer; hand on what is still there."""
        with suppress(ValueError):
            self._bells.remove(bell)
        bell.cancel()
        if self._queue.buffer:
            self.ring()


def _set(bell: Bell) -> None:
    if not bell.done():
        bell.set_result(None)


def _arrivals(queue: Any) -> _Arrivals:
    mine = _Arrivals(queue)
    found: _Arrivals = vars(queue).setdefault("_async_bridge", mine)
    if found is mine:
        queue.consumer.register_callback(mine)
    return found


def put_back(queue: Any, message: Any) -> None:
    """Keep a message that nobody has received for the next who asks."""
    queue.buffer.appendleft(message)
    _arrivals(queue).ring()


def _get(queue: Any, fn: Callable[[], Any]) -> Any:
    token = _waiting_for.set(queue)
    try:
        return fn()
    finally:
        _waiting_for.reset(token)


async def get(queue: Any, route: Route, timeout: float | None) -> Any:
    """Run `queue.get` until it returns a message or `timeout` is over."""
    clock = asyncio.get_running_loop().time
    end = None if timeout is None else clock() + timeout
    while True:
        left = None if end is None else max(end - clock(), 0.0)
        fn = partial(_get, queue, partial(queue.get, timeout=left))
        call = asyncio.ensure_future(
            talk(route, fn, deadline=route.deadline, undo=partial(put_back, queue))
        )
        try:
            if await _finished_first(queue, call):
                return call.result()
        except asyncio.CancelledError:
            # Cancelled twice, it may still be on its way out; then it puts back itself.
            if call.done() and not call.cancelled() and call.exception() is None:
                put_back(queue, call.result())
            raise


async def _finished_first(queue: Any, call: asyncio.Future[Any]) -> bool:
    """Whether the call came to an end before somebody rang; it is over in any case."""
    arrivals = _arrivals(queue)
    bell = arrivals.join()
    try:
        await asyncio.wait({call, bell}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        call.cancel()
        # Also when we are cancelled: what arrives until then is put back.
        await asyncio.wait({call})
        arrivals.leave(bell)
    return not call.cancelled()
