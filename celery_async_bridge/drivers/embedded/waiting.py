"""Waiting for what a broker has to say: in a thread, or on a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core.conversation import SLICE, current_conversation
from ...core.trampoline import await_, in_trampoline
from ...embedded.durable.receipt import LoopReceipt, Receipt, ThreadReceipt
from ..memory.notify import Bell, LoopBell, ThreadBell

if TYPE_CHECKING:
    from ...embedded.durable.journal import Journal
    from ...embedded.session import Session

__all__ = (
    "bell_for_caller",
    "next_event",
    "opened",
    "receipt_for_caller",
    "settled",
    "waker",
)


def receipt_for_caller() -> Receipt:
    """Return what tells the running sync code of the end of something."""
    return LoopReceipt() if in_trampoline() else ThreadReceipt()


def settled(receipt: Receipt) -> None:
    """Wait for the end of something: in a thread, or suspending a trampoline.

    Raises:
        Exception: what it has failed with.
    """
    if isinstance(receipt, LoopReceipt):
        await_(receipt.future)
    elif isinstance(receipt, ThreadReceipt):
        receipt.event.wait()
    if receipt.error is not None:
        # One error each: many may wait for the same commit.
        raise type(receipt.error)(*receipt.error.args) from receipt.error


def opened(journal: Journal | None) -> None:
    """Wait until the file of a broker, if it has one, is read.

    Raises:
        Exception: why it cannot be.
    """
    if journal is not None and not journal.is_open:
        receipt = receipt_for_caller()
        journal.open(receipt)
        settled(receipt)


def bell_for_caller() -> Bell:
    """Return a bell for the running sync code: it suspends a trampoline."""
    return LoopBell() if in_trampoline() else ThreadBell()


def waker(bell: Bell) -> Callable[[], object]:
    """Return what wakes the owner of a bell, from any thread."""

    def wake() -> None:
        bell.rung = True
        bell.sound()

    return wake


def next_event(session: Session, timeout: float | None) -> Any:
    """Wait for the next thing to read.

    Raises:
        TimeoutError: nothing came within `timeout` seconds.
        ConnectionResetError: the session was closed.
    """
    end = None if timeout is None else time.monotonic() + timeout
    talk = None if in_trampoline() else current_conversation()
    bell = bell_for_caller()
    wake = waker(bell)
    # A conversation that rings for its own events need not be cut into slices.
    rings = hasattr(talk, "bell")
    if rings:
        talk.bell = bell  # type: ignore[union-attr]
    session.watch(wake)
    try:
        while True:
            bell.arm()
            if talk is not None:
                talk.check()
            event = session.read()
            if event is not None:
                return event
            if not session.open:
                raise ConnectionResetError("the connection was closed")
            slices = [session.broker.timers.next()]
            if talk is not None and not rings:
                slices.append(SLICE)
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("timed out")
                slices.append(left)
            bell.hold(min((one for one in slices if one is not None), default=None))
    finally:
        session.unwatch(wake)
