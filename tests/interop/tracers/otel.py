"""OpenTelemetry's SDK with its Celery instrumentation, and an exporter in memory."""

# Checked with the tracer installed and without it.
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return"
# mypy: disable-error-code="no-untyped-call,misc"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .spans import Span

if TYPE_CHECKING:
    import re
    from contextlib import AbstractContextManager

__all__ = ("OpenTelemetry",)


class _Telling(SpanProcessor):
    """Tells that a span ends."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self.ended = ended

    def on_end(self, span: Any) -> None:
        """Tell."""
        self.ended(span.name)


class OpenTelemetry:
    """Listens to the publish signals: a span is current from one to the other."""

    noise: tuple[re.Pattern[str], ...] = ()

    def start(self, ended: Callable[[str], None]) -> None:
        """Make a provider and instrument Celery."""
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(_Telling(ended))
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(provider)
        self.tracer = trace.get_tracer("tests")
        CeleryInstrumentor().instrument(tracer_provider=provider)

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Enter a span."""
        return self.tracer.start_as_current_span(name)

    below = span

    def current(self) -> str:
        """Return the id of the context's span."""
        context = trace.get_current_span().get_span_context()
        return f"{context.span_id:016x}" if context.is_valid else ""

    def finished(self) -> list[Span]:
        """Return what was exported."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return [
            Span(
                name=span.name,
                id=f"{span.context.span_id:016x}",
                parent=f"{span.parent.span_id:016x}" if span.parent else "",
                trace=f"{span.context.trace_id:032x}",
                error=not span.status.is_ok and not span.status.is_unset,
                attributes={
                    **(span.attributes or {}),
                    "kind": str(span.kind),
                    "events": str([event.name for event in span.events]),
                },
            )
            for span in spans
        ]

    def errors(self) -> list[dict[str, str]]:
        """Return nothing: an error is an event of its span."""
        return []

    def carried(self, headers: Mapping[str, Any]) -> tuple[str, str]:
        """Read `traceparent`."""
        _, trace_id, span_id, _ = headers["traceparent"].split("-")
        return trace_id, span_id
