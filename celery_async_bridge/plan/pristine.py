"""Whether functions are still the ones that upstream has written.

Tracers replace them before or after the bridge is installed, so what the bridge saw
first proves nothing: a function is upstream's if its code comes from upstream's file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import FunctionType, MethodType
from typing import Any

__all__ = ("bare", "first_foreign", "is_upstream")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_HOSTS = frozenset({"celery", "kombu", "json", "uuid"})


def bare(found: Any) -> Any:
    """Return what the seams of the bridge around `found` cover."""
    while type(found) is FunctionType and (
        found.__code__.co_filename.startswith(_OURS)
    ):
        wrapped = vars(found).get("__wrapped__")
        if wrapped is None:
            break
        found = wrapped
    return found


def is_upstream(found: Any) -> bool:
    """Whether `found` is a function or method as upstream's source defines it.

    A seam of the bridge around it does not count as a change.
    """
    # Not `getattr`: a `wrapt` proxy forwards it to the method that it wraps.
    function = bare(found.__func__ if type(found) is MethodType else found)
    if type(function) is not FunctionType or "__wrapped__" in vars(function):
        return False
    # `functools.wraps` copies the module's name, but not the file of the code.
    module = sys.modules.get(function.__module__)
    host = function.__module__.partition(".")[0]
    file = function.__code__.co_filename
    return host in _HOSTS and getattr(module, "__file__", None) == file


def first_foreign(owner: Any, names: Iterable[str]) -> str | None:
    """Return the first of `names` that is not upstream's function on `owner`."""
    for name in names:
        if not is_upstream(getattr(owner, name, None)):
            return name
    return None
