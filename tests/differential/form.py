"""The form of a program.

A step is a tuple: the name of a method of `Stage`, and its arguments. Queues, exchanges
and consumers are named by small numbers.
"""

from __future__ import annotations

from typing import Any

__all__ = ("Program", "Step")

Step = tuple[Any, ...]
#: Whether time passes after each step, and the steps.
Program = tuple[bool, list[Step]]
