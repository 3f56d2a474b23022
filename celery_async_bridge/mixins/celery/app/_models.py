"""Async tasks with `pydantic=True`: the model that the coroutine returns is dumped.

Upstream's wrapper validates the arguments, calls the body and dumps what it returns, if
that is a model. From an async body it gets a coroutine, so what is awaited later would
reach the serializer as a model. Here the same wrapper is put around the awaited value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any, get_type_hints

from ....core.graft import Seam

__all__ = ("model_seams",)


def _returned(fn: Callable[..., Any]) -> Any:
    """What a function says that it returns, as upstream finds it out."""
    try:
        hints = get_type_hints(fn)
    except (NameError, AttributeError, TypeError):
        hints = {}
    return hints.get("return", signature(fn).return_annotation)


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def pydantic_wrapper(
        app: Any, task_fun: Any, task_name: str, *args: Any, **options: Any
    ) -> Any:
        inner = original(app, task_fun, task_name, *args, **options)
        if not iscoroutinefunction(task_fun):
            return inner

        def given(value):  # type: ignore[no-untyped-def]
            return value

        given.__annotations__ = {"return": _returned(task_fun)}
        dumped = original(app, given, task_name, *args, **options)

        @wraps(inner)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return dumped(await inner(*args, **kwargs))

        return wrapper

    return pydantic_wrapper


def model_seams() -> list[Seam]:
    """Return the row that dumps the models of async tasks; none before Celery 5.5."""
    import celery.app.base

    if not hasattr(celery.app.base, "pydantic_wrapper"):
        return []
    why = "a model that an async body returns must be dumped as that of a sync one"
    return [Seam(celery.app.base, "pydantic_wrapper", _wrapper, "c", why)]
