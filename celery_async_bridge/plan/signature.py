"""Sends of a signature of one task: upstream merges, the task's plan sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.canvas import Signature

from .named import Named, named
from .pristine import is_upstream
from .send import send_task
from .step import STEP_DOWN

__all__ = ("send_signature",)

_NAMES = ("apply_async", "delay", "_merge")


def _is_plain(signature: Any) -> bool:
    # A canvas sends more than itself, and a subclass may do anything.
    return (
        type(signature) is Signature
        and all(is_upstream(getattr(Signature, name)) for name in _NAMES)
        and signature.__dict__.keys().isdisjoint(_NAMES)
    )


async def send_signature(
    signature: Any,
    args: Any,
    kwargs: Any,
    options: Mapping[str, Any],
    inside: bool,
    timeout: float | None = None,
) -> Any:
    """Send a signature by the plan of its task.

    Arguments:
        signature: the signature.
        args: arguments to put before its own.
        kwargs: keyword arguments to add to its own.
        options: options to add to its own.
        inside: whether a task may be running here.
        timeout: seconds, or None for the setting.

    Returns:
        the result handle, or `STEP_DOWN`.
    """
    if not _is_plain(signature):
        return STEP_DOWN
    try:
        task = signature.type
    except KeyError:  # not registered here
        task = named(signature.app, signature["task"], Named)
    own = signature.__dict__.get("_apply_async")
    if own is not None and getattr(own, "__self__", None) is not task:
        return STEP_DOWN
    chosen = {name: value for name, value in options.items() if value is not None}
    if args or kwargs or chosen:
        args, kwargs, chosen = signature._merge(args, kwargs, chosen)
    else:
        args, kwargs, chosen = signature.args, signature.kwargs, signature.options
    return await send_task(task, args, kwargs, chosen, inside, timeout)
