"""Consuming from `memory://`: upstream's non-blocking pass, then wait for a bell."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from functools import partial, wraps
from queue import Empty
from typing import Any

from ...core.carry import capture
from ...core.conversation import current_conversation
from ...core.graft import Seam
from ...core.trampoline import spawn
from .at_once import AtOnce
from .notify import BOARD, Bell, LoopBell, ThreadBell

__all__ = ("drain", "drain_blocking", "seams")

Keys = frozenset[Hashable]


class _Watch:
    """A bell that hangs wherever an event of one connection can come from."""

    def __init__(self, connection: Any, bell: Bell) -> None:
        self._connection = connection
        self._bell = bell
        self._keys: Keys = frozenset()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        BOARD.leave(self._bell, self._keys)
        if self._bell.owes:
            # It took a wake-up without emptying the queues: whoever waits next for
            # one that still has messages must not sleep on.
            _hand_on(self._keys)

    def look(self) -> Callable[[], bool]:
        """Hang the bell where it belongs now; return the pass over the queues."""
        self._connection.connection  # noqa: B018  # connects, as upstream would
        transport = self._connection.transport
        self._bell.arm()
        keys = _sources(transport)
        if keys != self._keys:
            BOARD.join(self._bell, keys - self._keys)
            BOARD.leave(self._bell, self._keys - keys)
            self._keys = keys
        return partial(_pass, transport)


def _pass(transport: Any) -> bool:
    """Do one turn of upstream's loop, without its pause; whether an event came."""
    came = False

    def deliver(message: Any, queue: Any) -> None:
        nonlocal came
        came = True
        transport._deliver(message, queue)

    try:
        transport.cycle.get(deliver, timeout=0)
    except Empty:
        if came:  # not upstream's, but of a callback
            raise
        return False
    return True


def _sources(transport: Any) -> Keys:
    keys: set[Hashable] = {("consumers", id(transport))}
    for channel in list(transport.channels):
        if not channel._consumers:
            continue
        if channel.qos.can_consume():
            keys.update(("queue", name) for name in channel._active_queues)
        else:
            # Not its queues: a consumer without credit that is woken for a message
            # could only pass the wake-up on, to another one like it.
            keys.add(("credit", id(channel)))
    return frozenset(keys)


def _hand_on(keys: Keys) -> None:
    from kombu.transport.memory import Channel

    for key in keys:
        if isinstance(key, tuple) and key[0] == "queue":
            queue = Channel.queues.get(key[1])
            if queue is not None and queue.qsize():
                BOARD.ring(key)


async def drain(connection: Any, timeout: float | None) -> None:
    """Deliver one event on the loop; the callbacks run in a trampoline.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    kept = vars(connection)
    if "_bridge_at_once" not in kept or not kept["_bridge_at_once"].here:
        kept["_bridge_at_once"] = AtOnce(_pass)
    bell = LoopBell()
    with _Watch(connection, bell) as watch:
        while True:
            if await spawn(capture(watch.look())):
                return
            bell.settle()
            left = None if end is None else end - time.monotonic()
            if (left is not None and left <= 0) or not await bell.wait(left):
                raise TimeoutError


def drain_blocking(connection: Any, timeout: float | None) -> None:
    """Deliver one event in a bridge thread.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    bell = ThreadBell()
    talk: Any = current_conversation()
    if hasattr(talk, "bell"):
        # A conversation that rings for its own events need not be cut into slices.
        talk.bell = bell
    with _Watch(connection, bell) as watch:
        while True:
            look = watch.look()
            if talk is not None:
                talk.check()
            if look():
                return
            bell.settle()
            left = None if end is None else end - time.monotonic()
            if (left is not None and left <= 0) or not bell.hold(left):
                raise TimeoutError("timed out")


def _put(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _put(self: Any, queue: Any, message: Any, **kwargs: Any) -> Any:
        value = original(self, queue, message, **kwargs)
        BOARD.ring(("queue", queue))
        return value

    return _put


def _put_fanout(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _put_fanout(self: Any, exchange: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, exchange, *args, **kwargs)
        # From the table and not by `_lookup`, which may warn: an observer must not
        # be noticed. A queue too many only costs a look.
        table = self.state.exchanges.get(exchange, {}).get("table", ())
        for queue in {row[-1] for row in list(table)}:
            BOARD.ring(("queue", queue))
        return value

    return _put_fanout


def _credit(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def opens_credit(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, *args, **kwargs)
        BOARD.ring_all(("credit", id(self)))
        return value

    return opens_credit


def _consumers(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def basic_consume(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, *args, **kwargs)
        BOARD.ring_all(("consumers", id(self.connection)))
        return value

    return basic_consume


def seams() -> list[Seam]:
    """Return the observers of what makes an event deliverable."""
    from kombu.transport.memory import Channel

    why = "a wait for a message ends when it arrives, without polling"
    rows = {
        "_put": _put,
        "_put_fanout": _put_fanout,
        "basic_ack": _credit,
        "basic_reject": _credit,
        "basic_qos": _credit,
        "basic_consume": _consumers,
    }
    return [Seam(Channel, name, make, "d", why) for name, make in rows.items()]
