"""An entity that is known to be declared is not bound again to find that out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ...core.graft import Seam
from ...core.trampoline import in_trampoline

__all__ = ("declare_seams",)


def _is_declared(entity: Any, channel: Any) -> bool:
    transport = getattr(channel, "connection", None)
    return (
        transport is not None
        and entity.can_cache_declaration
        and hash(entity) in transport.client.declared_entities
    )


def _maybe_declare(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def maybe_declare(
        entity: Any, channel: Any = None, retry: bool = False, **retry_policy: Any
    ) -> Any:
        # Upstream comes to the same after it has copied the queue and its exchange.
        if in_trampoline() and _is_declared(entity, channel):
            return False
        return original(entity, channel, retry, **retry_policy)

    return maybe_declare


def declare_seams() -> list[Seam]:
    """Return the row for what a producer does before each message."""
    import kombu.messaging

    return [
        Seam(
            kombu.messaging,
            "maybe_declare",
            _maybe_declare,
            "a",
            "copying a queue for every message would be a sixth of a send",
        )
    ]
