"""Real tracers see a twin's send as they see the sync one; each in its own process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests import tiers
from tests.interop.processes import ROOT, forget
from tests.interop.tracers.scenario import CROWD, GONE, NAMES, SENDS

#: Tracer -> the module without which there is none.
NEEDS = {
    "sentry": "sentry_sdk",
    "otel": "opentelemetry.instrumentation.celery",
    "ddtrace": "ddtrace",
}
ENVIRONMENT = {
    # Without it ddtrace writes no headers.
    "DD_CELERY_DISTRIBUTED_TRACING": "true",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}
#: Spans of one send; Sentry has one for each method on the way.
_SPANS = {"sentry": 3, "otel": 1, "ddtrace": 1}
#: OpenTelemetry's span stays current when a send fails: its end is a signal that is not
#: fired then. The twins do as the sync method does.
_LEAKS = {"otel"}

_RUNS = [(tracer, first) for tracer in NAMES for first in ("tracer", "bridge")]


def is_installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):  # of a parent package
        return importlib.util.find_spec(module) is not None
    return False


def _told(tracer: str, first: str, url: str, dead: str, prefix: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.tracers.scenario", tracer, first],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("CELERY_")},
            **ENVIRONMENT,
            "TRACED_REDIS": url,
            "TRACED_DEAD": dead,
            "TRACED_PREFIX": prefix,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    forget(url, prefix)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def dead() -> Iterator[str]:
    """The URL of a broker that refuses."""
    import socket

    with ExitStack() as stack:
        # Bound, but not listening: nobody else gets the port.
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}/0"


@pytest.fixture(scope="module", params=_RUNS, ids="-".join)
def run(
    request: pytest.FixtureRequest, redis_server: str, dead: str
) -> tuple[str, dict[str, Any]]:
    """The name of a tracer, and what it has seen by each tier."""
    tracer, first = request.param
    if not is_installed(NEEDS[tracer]):
        pytest.skip(f"{NEEDS[tracer]} is not installed (extra tracers)")
    prefix = f"tr{os.getpid()}{tracer}{first}"
    return tracer, _told(tracer, first, redis_server, dead, prefix)


@pytest.fixture(params=tiers.TIERS)
def tier(request: pytest.FixtureRequest, run: tuple[str, dict[str, Any]]) -> str:
    name: str = request.param
    if name not in run[1]:
        pytest.skip(tiers.missing(name) or f"{name}: not tried")
    return name


def test_the_reference_is_whole(run: tuple[str, dict[str, Any]]) -> None:
    tracer, seen = run
    sync = seen[tiers.SYNC]
    assert all(sync["quiet"]["current_kept"])
    assert sync["crowd"]["right"] == CROWD
    spans = [name for name, _ in sync["quiet"]["at_end"]]
    assert len(spans) >= SENDS * _SPANS[tracer]
    assert all(sync["failing"]["current_kept"]) is (tracer not in _LEAKS)


def test_headers_spans_and_parents_are_those_of_sync(
    run: tuple[str, dict[str, Any]], tier: str
) -> None:
    _, seen = run
    for scene in ("quiet", "alone"):
        assert seen[tier][scene] == seen[tiers.SYNC][scene], scene


def test_spans_end_when_the_message_is_in_redis(
    run: tuple[str, dict[str, Any]], tier: str
) -> None:
    _, seen = run
    counts = [count for _, count in seen[tier]["quiet"]["at_end"]]
    assert counts == [count for _, count in seen[tiers.SYNC]["quiet"]["at_end"]]
    assert counts[0] == 1


def test_a_failed_send_leaves_what_sync_leaves(
    run: tuple[str, dict[str, Any]], tier: str
) -> None:
    _, seen = run
    assert seen[tier]["failing"] == seen[tiers.SYNC]["failing"]
    # Not beyond the task that sent, in any case.
    assert seen[tier]["failing"]["current_kept"][-1]


def test_concurrent_sends_have_their_own_parents(
    run: tuple[str, dict[str, Any]], tier: str
) -> None:
    _, seen = run
    assert seen[tier]["crowd"] == seen[tiers.SYNC]["crowd"]


def test_the_tier_is_the_one_meant(run: tuple[str, dict[str, Any]], tier: str) -> None:
    tracer, seen = run
    taken = seen[tier]["tiers"]
    if tier != tiers.PLAN:
        assert taken == [tier]
    elif tracer == "sentry":
        # It patches `Producer.publish`, which must run.
        assert taken == [tiers.TRAMPOLINE]
    else:
        # A plan can tell the signals, and write beneath a patch of `apply_async`.
        assert tiers.PLAN in taken


def test_the_tracer_stays_when_the_bridge_goes(run: tuple[str, dict[str, Any]]) -> None:
    _, seen = run
    assert seen[GONE] == seen[tiers.SYNC]
