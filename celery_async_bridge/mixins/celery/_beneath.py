"""The end of upstream's send path, where it is reached in a trampoline.

Whatever overrides or patches a task's `apply_async` is above `Celery.send_task`. What
is below can be done by plan, while the caller's code is on the stack as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from ...core.blame import blaming
from ...core.graft import Seam
from ...core.registry import is_armed
from ...core.trampoline import in_trampoline
from ._planned import may_be_inside

__all__ = ("beneath_seams",)

_send: Callable[..., Any] | None = None
_upstream: Any = None


def _load() -> Callable[..., Any]:
    # Late, because the plan imports Celery and this module must not.
    global _send, _upstream
    from ...plan.beneath import UPSTREAM, send_beneath

    _send, _upstream = send_beneath, UPSTREAM
    return send_beneath


def _send_task(original: Callable[..., Any]) -> Callable[..., Any]:
    from ...plan.pristine import bare, is_upstream

    if not is_upstream(original):
        # A tracer's patch: what it covers is not reached but through it.
        return original
    # A seam of an earlier `install()` stays where a tracer has been laid over it.
    upstream: Callable[..., Any] = bare(original)

    @wraps(upstream)
    def send_task(
        self: Any,
        name: Any,
        args: Any = None,
        kwargs: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        if in_trampoline() and not rest and is_armed():
            send = _send or _load()
            inside = may_be_inside()
            sent = send(upstream, self, name, args, kwargs, options, inside)
            if sent is not _upstream:
                return sent
        if self.conf.task_always_eager:
            # It warns whoever calls it, and that is not us.
            return blaming(
                partial(upstream, self, name, args, kwargs, *rest, **options)
            )
        return upstream(self, name, args, kwargs, *rest, **options)

    return send_task


def beneath_seams() -> list[Seam]:
    """Return the row for the end of the send path."""
    from celery import Celery

    return [
        Seam(
            Celery,
            "send_task",
            _send_task,
            "a",
            "below an override a message may be written by plan, too",
        )
    ]
