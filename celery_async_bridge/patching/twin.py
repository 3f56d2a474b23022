"""What patched upstream classes call to take over a method of a mixin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ("class_twin", "twin")

P = ParamSpec("P")
R = TypeVar("R")


def twin(fn: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return a mixin's method as it is.

    Only its type changes: it may be bound to another class than the mixin, which type
    checkers refuse otherwise.
    """
    return fn


def class_twin(fn: Callable[P, R]) -> staticmethod[P, R]:
    """Return a mixin's class method for another class.

    To type checkers it is a static method: what is left of it when it is bound.
    """
    function: Any = fn
    made: Any = classmethod(function.__func__)
    return made  # type: ignore[no-any-return]
