"""State that upstream keeps per thread or greenlet and a call must take along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

__all__ = ("Carrier", "capture", "register_carrier", "unregister_carrier")

T = TypeVar("T")

#: Looks at the caller; returns a factory of the context in which the call shall run,
#: or None when there is nothing to take along.
Carrier = Callable[[], Callable[[], AbstractContextManager[Any]] | None]

_carriers: list[Carrier] = []
#: Those for state that belongs to the thread alone: a greenlet of it has it anyway.
_thread_carriers: list[Carrier] = []
#: Those for what the bridge's own threads lack: nobody has prepared them for the call.
_lane_carriers: list[Carrier] = []


def register_carrier(
    carrier: Carrier, *, threads_only: bool = False, lanes_only: bool = False
) -> None:
    """Have `carrier` consulted for every call that changes thread or greenlet.

    Arguments:
        carrier: looks at the caller.
        threads_only: a greenlet of the caller's thread needs nothing of it.
        lanes_only: only the threads of the bridge's lanes need it.
    """
    carriers = _thread_carriers if threads_only else _carriers
    if lanes_only:
        carriers = _lane_carriers
    if carrier not in carriers:
        carriers.append(carrier)


def unregister_carrier(carrier: Carrier) -> None:
    """Stop consulting `carrier`."""
    for carriers in (_carriers, _thread_carriers, _lane_carriers):
        if carrier in carriers:
            carriers.remove(carrier)


def capture(
    fn: Callable[[], T], *, thread: bool = False, lane: bool = False
) -> Callable[[], T]:
    """Bind `fn` to what the carriers find here, for a run elsewhere.

    Arguments:
        fn: the call.
        thread: it will run in another thread.
        lane: it will run in a thread of a lane.
    """
    carriers = _carriers
    if thread or lane:
        carriers = [*_carriers, *_thread_carriers, *(_lane_carriers if lane else ())]
    found = [enter for carrier in carriers if (enter := carrier()) is not None]
    if not found:
        return fn

    def carried() -> T:
        with ExitStack() as stack:
            for enter in found:
                stack.enter_context(enter())
            return fn()

    return carried
