"""Handlers of a task (`on_success`, ...) that may be coroutine functions."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

__all__ = ("ensure_hooks", "restore_hooks")

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")

#: What was wrapped: attribute, whether the instance had it, the wrapper.
_wrapped: weakref.WeakKeyDictionary[Any, list[tuple[str, bool, weakref.ref[Any]]]] = (
    weakref.WeakKeyDictionary()
)


def ensure_hooks(task: Any, wait: Callable[[Any, Awaitable[Any]], Any]) -> None:
    """Have the async handlers of `task` awaited where upstream calls them.

    Arguments:
        task: the task.
        wait: waits for what a handler has returned.
    """
    for name in _HOOKS:
        hook = getattr(task, name, None)
        if iscoroutinefunction(hook):
            wrapper = _waiting(weakref.ref(task), hook, wait)
            rows = _wrapped.setdefault(task, [])
            rows.append((name, name in vars(task), weakref.ref(wrapper)))
            setattr(task, name, wrapper)


def _waiting(
    ref: weakref.ref[Any],
    hook: Callable[..., Awaitable[Any]],
    wait: Callable[[Any, Awaitable[Any]], Any],
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return wait(ref(), hook(*args, **kwargs))

    wrapper = wraps(hook)(call)
    # `wraps` would make it look like a coroutine function to who unwraps it.
    vars(wrapper)["__wrapped__"] = None
    vars(wrapper)["_hook"] = hook
    return wrapper


def restore_hooks() -> None:
    """Give every task its handlers back."""
    while _wrapped:
        task, rows = _wrapped.popitem()
        for name, had, ref in rows:
            wrapper = ref()
            if wrapper is None or vars(task).get(name) is not wrapper:
                continue
            if had:
                setattr(task, name, vars(wrapper)["_hook"])
            else:
                delattr(task, name)
