"""`self.retry()` in an async body: its message leaves when the body has been left.

Upstream sends it at once, which would block the loop below the body. What `retry`
raises leaves the body next, so the message is sent from where the body is awaited:
natively, or by the thread that awaits it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, TypeVar

from ....core.graft import Seam
from ....core.trampoline import in_trampoline

__all__ = ("later_seams", "sent_later")

T = TypeVar("T")

#: What the async body of this context has to send when it is left.
_owed: ContextVar[list[Any] | None] = ContextVar("celery_async_owed", default=None)
#: The same list, while upstream's `retry` makes a message for it.
_making: ContextVar[list[Any] | None] = ContextVar("celery_async_making", default=None)


def sent_later(wait: Callable[[], T]) -> T:
    """Return what `wait` returns for an async body, and send what the body owes.

    A body that is cancelled sends nothing any more.

    Raises:
        Reject: it could not be sent; as from `Task.retry`.
    """
    owed: list[Any] = []
    token = _owed.set(owed)
    try:
        value = wait()
    except Exception:
        _send(owed)
        raise
    finally:
        _owed.reset(token)
    # A body that has caught its `Retry` has sent it all the same.
    _send(owed)
    return value


def _send(owed: list[Any]) -> None:
    from celery.exceptions import Reject

    while owed:
        signature = owed.pop(0)
        try:
            signature.apply_async()
        except Exception as exc:
            raise Reject(exc, requeue=False) from exc


def _retry(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def retry(
        self: Any,
        args: Any = None,
        kwargs: Any = None,
        exc: Any = None,
        throw: bool = True,
        **options: Any,
    ) -> Any:
        owed = _owed.get() if throw and not self.request.is_eager else None
        if owed is None or in_trampoline() or not _on_loop():
            return original(self, args, kwargs, exc, throw, **options)
        token = _making.set(owed)
        try:
            return original(self, args, kwargs, exc, throw, **options)
        finally:
            _making.reset(token)

    return retry


def _signature(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def signature_from_request(self: Any, *args: Any, **options: Any) -> Any:
        made = original(self, *args, **options)
        owed = _making.get()
        if owed is not None:
            # `retry` calls it once, and raises.
            made.apply_async = partial(_owe, owed, made)
        return made

    return signature_from_request


def _owe(owed: list[Any], signature: Any) -> None:
    del signature.apply_async
    owed.append(signature)


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def later_seams() -> list[Seam]:
    """Return the rows that keep `retry` from blocking the loop."""
    from celery.app.task import Task

    why = "`self.retry()` in an async body must not block the loop while it sends"
    return [
        Seam(Task, "retry", _retry, "c", why),
        Seam(Task, "signature_from_request", _signature, "c", why),
    ]
