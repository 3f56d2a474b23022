"""Where Kombu's poller asks for messages, and what it does there for an asyncio worker.

The seams act on channels of connections that are registered with a hub which a pool has
named to us (`serve_hub`); elsewhere they pass straight through.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import kombu.transport.redis

from ...core.graft import Seam
from .hub_intake import HubIntake
from .hub_owed import Owed
from .intake import TURNS

__all__ = ("flush_hub", "hub_seams", "serve_hub")

_SLOT = "_bridge_hub_intake"
#: Of a transport: the hub that it is registered with.
_HUB = "_bridge_hub"


class _Served:
    """One hub: what is owed, and the channels that it polls."""

    def __init__(self) -> None:
        self.owed = Owed()
        self.intakes: weakref.WeakSet[HubIntake] = weakref.WeakSet()


_served: weakref.WeakKeyDictionary[Any, _Served] = weakref.WeakKeyDictionary()


def serve_hub(hub: Any) -> None:
    """Claim for the channels that a hub of Kombu's polls from now on."""
    _served.setdefault(hub, _Served())


def flush_hub(hub: Any) -> None:
    """Write what was settled since the hub's last turn; it may have had its last one.

    Raises:
        redis.exceptions.ConnectionError: the connection is lost.
    """
    served = _served.get(hub)
    for intake in () if served is None else list(served.intakes):
        intake.flush()


def _intake_at(channel: Any) -> HubIntake | None:
    """Return what claims for a channel, made on first use; None: Kombu does it."""
    found: HubIntake | None = vars(channel).get(_SLOT)
    if found is not None:
        return found
    noted = vars(channel.connection).get(_HUB)
    served = None if noted is None else _served.get(noted())
    if (
        served is None
        or not channel.ack_emulation
        or type(channel._queue_cycle) not in TURNS
    ):
        return None
    found = vars(channel)[_SLOT] = HubIntake(channel, served.owed)
    served.intakes.add(found)
    return found


def _register(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def register_with_event_loop(self: Any, connection: Any, loop: Any) -> Any:
        vars(self)[_HUB] = weakref.ref(loop)
        return original(self, connection, loop)

    return register_with_event_loop


def _brpop_start(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _brpop_start(self: Any, *args: Any, **kwargs: Any) -> Any:
        intake = _intake_at(self)
        if intake is None or not intake.start():
            original(self, *args, **kwargs)

    return _brpop_start


def _on_readable(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def on_readable(self: Any, fileno: int) -> Any:
        channel, kind = self._fd_to_chan.get(fileno, (None, ""))
        if kind == "BRPOP" and fileno not in getattr(self, "_paused_brpop", ()):
            intake: HubIntake | None = vars(channel).get(_SLOT)
            # Whether there is credit or not: the server also answers to settlements,
            # and upstream would take that for the end of an idle connection.
            if intake is not None and intake.reads:
                return intake.read()
        return original(self, fileno)

    return on_readable


def _intakes(poller: Any) -> Iterator[HubIntake]:
    for channel in list(poller._channels):
        intake = vars(channel).get(_SLOT)
        if intake is not None:
            yield intake


def _on_poll_start(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def on_poll_start(self: Any) -> Any:
        for intake in _intakes(self):
            intake.prepare()
        value = original(self)
        # One write for the settlements of a turn and the claim for the next one.
        for intake in _intakes(self):
            intake.flush()
        return value

    return on_poll_start


def hub_seams() -> list[Seam]:
    """Return the rows for Kombu's poller and its channel."""
    module: Any = kombu.transport.redis
    poller = module.MultiChannelPoller
    rows = (
        (module.Transport, "register_with_event_loop", _register, "note the hub"),
        (module.Channel, "_brpop_start", _brpop_start, "take and note in one step"),
        (poller, "on_readable", _on_readable, "deliver what was claimed"),
        (poller, "on_poll_start", _on_poll_start, "settle a turn's in one write"),
    )
    return [
        Seam(owner, name, make, "b", f"an asyncio worker's hub: {why}")
        for owner, name, make, why in rows
        if hasattr(owner, name)
    ]
