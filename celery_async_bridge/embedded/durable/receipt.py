"""What a thread tells who waits for it: another thread, or coroutines of a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Protocol

__all__ = ("LoopReceipt", "Receipt", "ThreadReceipt", "settle")


class Receipt(Protocol):
    """The outcome of something that is waited for once.

    Attributes:
        error: why it has failed; None if it has not.
    """

    error: Exception | None


class ThreadReceipt:
    """Blocks a thread until it is settled."""

    __slots__ = ("error", "event")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.event = threading.Event()


class LoopReceipt:
    """Has a future of the running loop, which is done when it is settled."""

    __slots__ = ("error", "future", "loop")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()


def settle(receipts: Iterable[Receipt], error: Exception | None = None) -> None:
    """Say that it is over, and how; each loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for receipt in receipts:
        receipt.error = error
        if isinstance(receipt, LoopReceipt):
            loops.setdefault(receipt.loop, []).append(receipt.future)
        elif isinstance(receipt, ThreadReceipt):
            receipt.event.set()
    for loop, futures in loops.items():
        try:
            loop.call_soon_threadsafe(_release, futures)
        except RuntimeError:  # the loop was closed under its waiters
            continue


def _release(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
