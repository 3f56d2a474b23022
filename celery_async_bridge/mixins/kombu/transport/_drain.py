"""Waiting on a transport, beneath the connection whose wait is a seam."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ....core.conversation import current_conversation
from ....core.dispatch import talk

if TYPE_CHECKING:
    from ....core.route import Route

__all__ = ("drain",)


async def drain(
    route: Route, wait: Callable[[float | None], Any], timeout: float | None
) -> Any:
    """Await `wait(timeout)`, in slices where it blocks a thread.

    Raises:
        TimeoutError: (`socket.timeout`) nothing came.
    """

    def call() -> Any:
        conversation = current_conversation()
        if conversation is None:
            return wait(timeout)
        return conversation.sliced(wait, timeout, socket.timeout)

    return await talk(route, call, deadline=route.deadline)
