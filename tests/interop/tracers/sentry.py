"""Sentry's SDK with its Celery integration, and a transport that keeps events."""

# Checked with the tracer installed and without it.
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return"
# mypy: disable-error-code="assignment,method-assign,misc"

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.tracing import Span as SentrySpan
from sentry_sdk.transport import Transport

from .spans import Span

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ("Sentry",)


class _Kept(Transport):
    """A transport that sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        """Keep transactions and errors."""
        for kept, event in (
            (self.events, envelope.get_transaction_event()),
            (self.errors, envelope.get_event()),
        ):
            if event is not None:
                kept.append(event)


class Sentry:
    """Patches `Task.apply_async`, `Celery.send_task` and `Producer.publish`."""

    noise = (re.compile(r"sentry-sample_rand=[\d.]+"),)

    def start(self, ended: Callable[[str], None]) -> None:
        """Start the SDK without what it turns on by default."""
        self.transport = _Kept()
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            transport=self.transport,
            release="tests",
            traces_sample_rate=1.0,
            default_integrations=False,
            integrations=[CeleryIntegration()],
        )
        finish = SentrySpan.finish

        def finish_and_tell(span: Any, *args: Any, **kwargs: Any) -> Any:
            ended(str(span.op))
            return finish(span, *args, **kwargs)

        SentrySpan.finish = finish_and_tell

    @contextmanager
    def span(self, name: str) -> Iterator[Any]:
        """Enter a transaction with scopes of its own, as for a web request."""
        with (
            sentry_sdk.isolation_scope(),
            sentry_sdk.start_transaction(name=name) as transaction,
        ):
            yield transaction

    def below(self, name: str) -> AbstractContextManager[Any]:
        """Enter a span of the current transaction."""
        return sentry_sdk.start_span(op=name, name=name)

    def current(self) -> str:
        """Return the id of the scope's span."""
        span = sentry_sdk.get_current_span()
        return "" if span is None else str(span.span_id)

    def finished(self) -> list[Span]:
        """Return the transactions and the spans in them."""
        events, self.transport.events = self.transport.events, []
        found = []
        for event in events:
            root = event["contexts"]["trace"]
            found.append(self._span({**root, "op": event["transaction"]}))
            found += [self._span(span) for span in event["spans"]]
        return found

    @staticmethod
    def _span(span: Mapping[str, Any]) -> Span:
        data = {**(span.get("data") or {}), "description": span.get("description")}
        data.pop("thread.id", None)
        data.pop("thread.name", None)
        return Span(
            name=span["op"],
            id=span["span_id"],
            parent=span.get("parent_span_id") or "",
            trace=span["trace_id"],
            error=span.get("status") not in (None, "ok"),
            attributes=data,
        )

    def errors(self) -> list[dict[str, str]]:
        """Return the error events, with the transaction that they belong to."""
        events, self.transport.errors = self.transport.errors, []
        return [
            {
                "name": event["transaction"],
                "trace": event["contexts"]["trace"]["trace_id"],
                "span": event["contexts"]["trace"]["span_id"],
                "error": event["exception"]["values"][-1]["type"],
                "task": event["extra"]["celery-job"]["task_name"],
            }
            for event in events
        ]

    def carried(self, headers: Mapping[str, Any]) -> tuple[str, str]:
        """Read `sentry-trace`."""
        trace, span, _ = headers["sentry-trace"].split("-")
        return trace, span
