"""ddtrace with its Celery integration, and a filter that keeps every trace."""

# Checked with the tracer installed and without it.
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return"
# mypy: disable-error-code="assignment,method-assign,misc"

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ddtrace
from ddtrace.trace import TraceFilter, tracer

from .spans import Span

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ("Datadog",)


class _Kept(TraceFilter):
    """Keeps the traces; none is left to be sent to an agent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def process_trace(self, trace: list[Any]) -> None:
        """Keep a trace."""
        self.spans += trace


class Datadog:
    """Wraps `Task.apply_async` and listens to the publish signals."""

    #: The time in the upper half of a trace id, and a random number of the trace.
    noise = (re.compile(r"tid[=:][0-9a-f]+"), re.compile(r"rv:[0-9a-f]+"))

    def start(self, ended: Callable[[str], None]) -> None:
        """Patch Celery; the environment has turned on what goes into headers."""
        self.kept = _Kept()
        tracer.configure(trace_processors=[self.kept])
        ddtrace.patch(celery=True)
        finish = ddtrace.trace.Span.finish

        def finish_and_tell(span: Any, *args: Any, **kwargs: Any) -> Any:
            ended(span.name)
            return finish(span, *args, **kwargs)

        ddtrace.trace.Span.finish = finish_and_tell

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Enter a span."""
        return tracer.trace(name)

    below = span

    def current(self) -> str:
        """Return the id of the context's span."""
        span = tracer.current_span()
        return "" if span is None else str(span.span_id)

    def finished(self) -> list[Span]:
        """Return the spans of the traces that are complete."""
        spans, self.kept.spans = self.kept.spans, []
        return [
            Span(
                name=span.name,
                id=str(span.span_id),
                parent=str(span.parent_id) if span.parent_id else "",
                trace=str(span.trace_id & (1 << 64) - 1),
                error=bool(span.error),
                attributes={"resource": span.resource, "service": span.service}
                | {
                    key: value
                    for key, value in span.get_tags().items()
                    if key.startswith(("celery", "span", "out", "component"))
                },
                also=(f"{span.span_id:016x}", f"{span.trace_id:032x}"),
            )
            for span in spans
        ]

    def errors(self) -> list[dict[str, str]]:
        """Return nothing: an error is a mark of its span."""
        return []

    def carried(self, headers: Mapping[str, Any]) -> tuple[str, str]:
        """Read Datadog's headers."""
        inner = headers["headers"]
        return inner["x-datadog-trace-id"], inner["x-datadog-parent-id"]
