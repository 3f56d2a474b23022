"""Real tracers in a real `celery worker -P asyncio`: every task has its own span."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.interop.processes import ROOT, forget
from tests.interop.tracers.test_tracers import ENVIRONMENT, NEEDS, is_installed
from tests.interop.tracers.worker_scenario import EXECUTIONS, MANY, is_execution

#: On RabbitMQ the tracer of Celery runs in threads, on Redis on the loop.
_RUNS = [
    ("sentry", "tracer", "redis"),
    ("sentry", "bridge", "redis"),
    ("otel", "tracer", "redis"),
    ("otel", "bridge", "amqp"),
    ("ddtrace", "tracer", "redis"),
]


@dataclass
class Traced:
    """What a tracer has seen, in the client and in the worker."""

    tracer: str
    seen: dict[str, list[Any]]
    sync: dict[str, str]
    fails: str
    errors: list[dict[str, str]]
    worker: dict[str, Any]
    client: dict[str, Any]

    @property
    def spans(self) -> dict[str, Any]:
        """All spans by their ids."""
        return self.client | self.worker

    def above(self, span: str) -> list[str]:
        """The ids of a span and of those above it."""
        found = []
        while span in self.spans:
            found.append(span)
            span = self.spans[span]["parent"]
        return found

    def executions(self, task_id: str) -> list[Any]:
        """The spans of a task's executions."""
        return [
            span
            for span in self.worker.values()
            if is_execution(span) and task_id in span["attributes"].values()
        ]


def _told(tracer: str, first: str, broker: str, redis: str) -> Traced:
    prefix = f"trw{os.getpid()}{tracer}{first}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CELERY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.tracers.worker_scenario"],
        cwd=ROOT,
        env={
            **kept,
            **ENVIRONMENT,
            "TRACED_TRACER": tracer,
            "TRACED_FIRST": first,
            "TRACED_BROKER": broker,
            "TRACED_REDIS": redis,
            "TRACED_PREFIX": prefix,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        timeout=110,
        check=False,
    )
    forget(redis, prefix)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    return Traced(
        tracer,
        told["seen"],
        told["sync"],
        told["fails"],
        told["worker"]["errors"],
        {span["id"]: span for span in told["worker"]["spans"]},
        {span["id"]: span for span in told["client"]},
    )


@pytest.fixture(scope="module", params=_RUNS, ids="-".join)
def traced(request: pytest.FixtureRequest, redis_server: str) -> Traced:
    """One worker with one tracer, and all that came of it."""
    tracer, first, broker = request.param
    if not is_installed(NEEDS[tracer]):
        pytest.skip(f"{NEEDS[tracer]} is not installed (extra tracers)")
    url = redis_server if broker == "redis" else request.getfixturevalue("amqp_url")
    return _told(tracer, first, url, redis_server)


def test_every_execution_has_one_span(traced: Traced) -> None:
    spans = [span for span in traced.worker.values() if is_execution(span)]
    assert len(spans) == EXECUTIONS
    assert len(traced.seen) == MANY
    for task_id, (_, number, *_rest) in traced.seen.items():
        assert len(traced.executions(task_id)) == (2 if number % 10 == 0 else 1)


def test_the_span_of_a_task_is_current_before_and_after_its_awaits(
    traced: Traced,
) -> None:
    for task_id, (_, _, before, after, kept, _) in traced.seen.items():
        own = {span["id"] for span in traced.executions(task_id)}
        assert before == after
        assert before in own
        assert kept
    (sync,) = traced.executions(traced.sync["id"])
    assert sync["id"] == traced.sync["current"]


def test_what_a_body_measures_is_below_its_own_span(traced: Traced) -> None:
    inner = [s for s in traced.worker.values() if s["name"].startswith("inner-")]
    assert len(inner) == MANY + MANY // 10
    for span in inner:
        task_id = span["name"].removeprefix("inner-")
        assert span["parent"] in {one["id"] for one in traced.executions(task_id)}


def test_the_span_of_a_task_is_below_that_of_its_sender(traced: Traced) -> None:
    for parent, _, span, _, _, child in traced.seen.values():
        assert traced.above(span)[-1] == parent
        assert traced.spans[span]["trace"] == traced.client[parent]["trace"]
        if child is not None:
            (execution,) = traced.executions(child)
            assert span in traced.above(execution["id"])


def test_a_consumer_is_the_child_of_a_producer(traced: Traced) -> None:
    if traced.tracer != "otel":
        pytest.skip("only OpenTelemetry says of a span which of them it is")
    for span in filter(is_execution, traced.worker.values()):
        assert span["attributes"]["kind"] == "SpanKind.CONSUMER"
        above = traced.spans[span["parent"]]
        assert above["attributes"]["kind"] == "SpanKind.PRODUCER"


def test_a_task_that_raises_is_one_error_of_its_own_transaction(traced: Traced) -> None:
    (execution,) = traced.executions(traced.fails)
    wrong = [span for span in traced.worker.values() if span["error"]]
    if traced.tracer != "sentry":
        assert [span["id"] for span in wrong] == [execution["id"]]
        return
    (error,) = traced.errors
    assert error["error"] == "LookupError"
    assert error["name"] == error["task"] == "traced.fails"
    assert error["trace"] == execution["trace"]
    transaction = traced.worker[error["span"]]
    assert transaction["name"] == "traced.fails"
    assert transaction["id"] in traced.above(execution["id"])
