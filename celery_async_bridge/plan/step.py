"""The answer of a plan that cannot do it."""

from __future__ import annotations

__all__ = ("StepDown",)


class StepDown:
    """Upstream's own code must send, within `seconds` or by the usual deadline."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
