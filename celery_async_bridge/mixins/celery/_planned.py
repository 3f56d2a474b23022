"""Where a twin hands its arguments to the compiled publish plan.

Each function gets the object, the arguments of the twin and the deadline, and returns
what to await: a result handle, or `STEP_DOWN`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ._stacks import is_isolated

__all__ = (
    "apply_async",
    "apply_signature",
    "delay",
    "delay_signature",
    "may_be_inside",
    "send_by_name",
)

_NOTHING: Mapping[str, Any] = {}
_TASK = ("args", "kwargs", "task_id", "producer", "link", "link_error", "shadow")
_SIGNATURE = ("args", "kwargs", "route_name")
_APP = ("name", "args", "kwargs", "countdown", "eta", "task_id")
_send: Callable[..., Awaitable[Any]] | None = None


def _load() -> Callable[..., Awaitable[Any]]:
    # Late, because the plan imports Celery and this module must not.
    global _send
    from ...plan.send import send_task

    _send = send_task
    return send_task


def may_be_inside() -> bool:
    """Whether a task may be running here; asking upstream would take longer."""
    state = sys.modules["celery._state"]
    return is_isolated() or bool(state._task_stack._local.__storage__)


def _options(
    places: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Name the options of a call; an odd one sends the call to upstream's code."""
    found = {**dict(zip(places, args, strict=False)), **kwargs}
    twice = len(found) != len(args) + len(kwargs)
    for name in places:
        if name in found and found[name] is None:
            del found[name]  # a default, spelled out
    if twice or len(args) > len(places):
        found[""] = args
    return found


def delay(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Awaitable[Any]:
    """Send what `Task.adelay` was given."""
    return (_send or _load())(task, args, kwargs, _NOTHING, may_be_inside(), timeout)


def apply_async(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Awaitable[Any]:
    """Send what `Task.aapply_async` was given."""
    options = _options(_TASK, args, kwargs)
    given = options.pop("args", None), options.pop("kwargs", None)
    return (_send or _load())(task, *given, options, may_be_inside(), timeout)


def send_by_name(
    app: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Awaitable[Any]:
    """Send what `Celery.asend_task` was given."""
    from ...plan.named import Named, named

    options = _options(_APP, args, kwargs)
    name = options.pop("name", "")
    if not isinstance(name, str):
        options[""] = name
    given = options.pop("args", None), options.pop("kwargs", None)
    task = named(app, str(name), Named)
    return (_send or _load())(task, *given, options, may_be_inside(), timeout)


def delay_signature(
    signature: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Awaitable[Any]:
    """Send what `Signature.adelay` was given."""
    from ...plan.signature import send_signature

    return send_signature(signature, args, kwargs, _NOTHING, may_be_inside(), timeout)


def apply_signature(
    signature: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Awaitable[Any]:
    """Send what `Signature.aapply_async` was given."""
    from ...plan.signature import send_signature

    options = _options(_SIGNATURE, args, kwargs)
    given = options.pop("args", None), options.pop("kwargs", None)
    return send_signature(signature, *given, options, may_be_inside(), timeout)
