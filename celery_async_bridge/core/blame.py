"""Calls that warn their caller: they see the line that has called the bridge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

from .trampoline import frames

__all__ = ("blaming",)

T = TypeVar("T")

#: Where no line is the caller's: the bridge, and the loop that runs its coroutines.
_INSIDE = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep,
)


def blaming(fn: Callable[[], T]) -> T:
    """Call `fn` as if from the line of the innermost caller outside of the bridge.

    `warnings.warn(..., stacklevel=2)` takes the frame above, and only Python 3.12 lets
    the one who warns leave frames out; our frames are where upstream expects none.
    """
    for frame in frames():
        file = frame.f_code.co_filename
        if not file.startswith(_INSIDE):
            # As many lines down as the caller's, in a file of that name.
            code = compile("\n" * (frame.f_lineno - 1) + "fn()", file, "eval")
            found: Any = eval(code, frame.f_globals, {"fn": fn})
            del frame
            return found  # type: ignore[no-any-return]
    return fn()
