"""What the scenario asks of a tracer, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import re
    from contextlib import AbstractContextManager

__all__ = ("Span", "Tracer")


@dataclass(frozen=True)
class Span:
    """A finished span.

    Attributes:
        parent: the id of its parent, or an empty string.
        also: other forms of the ids, as headers and attributes carry them.
    """

    name: str
    id: str
    parent: str
    trace: str
    error: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    also: Iterable[str] = ()


class Tracer(Protocol):
    """A tracing library, set up to keep its spans in memory."""

    #: What the library writes into headers and attributes that no two sends share.
    noise: tuple[re.Pattern[str], ...]

    def start(self, ended: Callable[[str], None]) -> None:
        """Instrument Celery; `ended(name)` is called when a span ends."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Enter a span of the application's own."""

    def below(self, name: str) -> AbstractContextManager[Any]:
        """Enter a span below the current one."""

    def current(self) -> str:
        """Return the id of the current span; empty if there is none."""

    def finished(self) -> list[Span]:
        """Return the spans that have finished since it was last asked."""

    def errors(self) -> list[dict[str, str]]:
        """Return the errors it has told of, where they are not part of a span."""

    def carried(self, headers: Mapping[str, Any]) -> tuple[str, str]:
        """Return trace and span id that a message brings along."""
