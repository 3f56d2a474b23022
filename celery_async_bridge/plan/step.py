"""The answer of a plan that cannot do it."""

from __future__ import annotations

from typing import Final

__all__ = ("STEP_DOWN", "StepDown")


class StepDown:
    """Upstream's own code must send."""


STEP_DOWN: Final = StepDown()
