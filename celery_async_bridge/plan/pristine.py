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

__all__ = ("first_foreign", "is_upstream")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_HOSTS = frozenset({"celery", "kombu", "json", "uuid"})


def is_upstream(found: Any) -> bool:
    """Whether `found` is a function or method as upstream's source defines it.

    A seam of the bridge around it does not count as a change.
    """
    while True:
        # Not `getattr`: a `wrapt` proxy forwards it to the method that it wraps.
        function = found.__func__ if type(found) is MethodType else found
        if type(function) is not FunctionType:
            return False
        file = function.__code__.co_filename
        wrapped = vars(function).get("__wrapped__")
        if file.startswith(_OURS) and wrapped is not None:
            found = wrapped
            continue
        if wrapped is not None:
            return False
        # `functools.wraps` copies the module's name, but not the file of the code.
        module = sys.modules.get(function.__module__)
        host = function.__module__.partition(".")[0]
        return host in _HOSTS and getattr(module, "__file__", None) == file


def first_foreign(owner: Any, names: Iterable[str]) -> str | None:
    """Return the first of `names` that is not upstream's function on `owner`."""
    for name in names:
        if not is_upstream(getattr(owner, name, None)):
            return name
    return None
