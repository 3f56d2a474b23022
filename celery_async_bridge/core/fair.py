"""How long deliveries may follow each other before others on the loop have a turn."""

from __future__ import annotations

import asyncio
import time

__all__ = ("Fair", "give_way")

#: Seconds of deliveries after which everybody else on the loop has a turn.
TURN = 0.005


class Fair:
    """Says when that time is over: what waits for nothing never ends a turn itself."""

    __slots__ = ("_turn_at",)

    def __init__(self) -> None:
        self._turn_at = 0.0

    def owes_turn(self) -> bool:
        """Whether the others are to have a turn before the next delivery.

        Whoever is told so gives it to them: the time begins anew.
        """
        now = time.monotonic()
        if now < self._turn_at:
            return False
        self._turn_at = now + TURN
        return True


async def give_way() -> bool:
    """Let the others have a turn; False, as nothing was delivered."""
    await asyncio.sleep(0)
    return False
