"""The same bytes, values, errors and signals by every tier, on a real Redis.

The reference is the sync method, in an app of its own. Of each case the repeats go to
one app, so that a plan that was learned from the first sends the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
from celery import signals

from celery_async_bridge.testing.contract import case as contract
from celery_async_bridge.testing.contract.case import Case, observe
from celery_async_bridge.testing.contract.cases.sending import CANVAS, SENDING
from celery_async_bridge.testing.contract.outcome import differences
from celery_async_bridge.testing.contract.wire import Server
from celery_async_bridge.testing.tripwire import tripwire
from tests import tiers
from tests.integration.tier_cases import MORE
from tests.integration.tier_changes import CHANGES, MUTATIONS
from tests.integration.tier_stage import TierStage, repeated
from tests.integration.tier_variants import VARIANTS
from tests.sweep import ignore_unclosed, sweep

pytestmark = ignore_unclosed


def _sends(case: Case) -> bool:
    return not case.name.startswith(("apply-", "setting-eager")) and (
        case.name != "apply" and not case.name.endswith("-apply")
    )


_CASES: dict[str, Case] = {
    **{
        case.name: repeated(case) for case in (*SENDING, *CANVAS, *MORE) if _sends(case)
    },
    **{f"change-{case.name}": case for case in CHANGES},
    **{f"variant-{case.name}": case for case in VARIANTS},
}

_CANVASES = {case.name for case in CANVAS if not case.name.startswith("signature")}

#: What a plan must be able to send, once it has been learned.
_PLANNED = (
    "delay",
    "send_task-plain",
    "signature-delay",
    "signature-apply_async",
    *(
        f"apply_async-{name}"
        for name in (
            "plain",
            "kwargs",
            "queue",
            "priority",
            "countdown",
            "eta",
            "expires",
            "headers",
            "task_id",
            "link",
            "ignoring_task",
        )
    ),
)
#: What tracers do to a message must not cost its plan.
_PLANNED_MUTATIONS = ("traced",)

_expected: dict[str, Any] = {}


@pytest.fixture(scope="module")
def server(redis_server: str) -> Iterator[Server]:
    yield Server(redis_server, lambda run: {"global_keyprefix": f"{run}:"})
    sweep()


def _reference(name: str, server: Server) -> Any:
    found = observe(_CASES[name], TierStage(server, tiers.SYNC), twins=False)
    assert found["steps"], "the script did nothing"
    return found


def _pairs() -> Iterator[tuple[str, str]]:
    for name in _CASES:
        for tier in tiers.TIERS:
            # Only plans can miss a change; a canvas always runs in a trampoline.
            if name.startswith(("change-", "variant-")) and tier != tiers.PLAN:
                continue
            if name in _CANVASES and tier == tiers.TRAMPOLINE:
                continue
            yield name, tier


def _compare(name: str, tier: str, server: Server, expected: Any) -> list[str]:
    with ExitStack() as stack:
        taken = stack.enter_context(tiers.witnessed())
        stack.enter_context(tiers.entered(tier))
        stack.enter_context(nullcontext() if tier == tiers.THREAD else tripwire())
        found = observe(_CASES[name], TierStage(server, tier), twins=True)
    if found != expected:
        lines = "\n".join(differences(expected, found))
        pytest.fail(f"{name} by {tier} differs\n{lines}", pytrace=False)
    return taken


@pytest.mark.parametrize(("name", "tier"), list(_pairs()))
def test_tier(name: str, tier: str, server: Server) -> None:
    if tiers.missing(tier):
        pytest.skip(tiers.missing(tier))
    if name not in _expected:
        _expected[name] = _reference(name, server)
    taken = _compare(name, tier, server, _expected[name])
    if tier != tiers.PLAN:
        assert set(taken) <= {tier}
    elif name in _PLANNED:
        assert taken[-1] == tiers.PLAN


@contextmanager
def _connected(receiver: Callable[..., Any]) -> Iterator[None]:
    signals.before_task_publish.connect(receiver, weak=False)
    try:
        yield
    finally:
        signals.before_task_publish.disconnect(receiver)


@pytest.mark.parametrize("tier", tiers.TIERS)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutations_by_receivers(mutation: str, tier: str, server: Server) -> None:
    if tiers.missing(tier):
        pytest.skip(tiers.missing(tier))
    with _connected(MUTATIONS[mutation]):
        for name in ("delay", "apply_async-countdown", "send_task-plain"):
            taken = _compare(name, tier, server, _reference(name, server))
            if tier == tiers.PLAN and mutation in _PLANNED_MUTATIONS:
                assert taken[-1] == tiers.PLAN


def _unheard() -> Iterator[tuple[str, str]]:
    many = ("group", "chord", "chunks", "chain_in_group")
    for name in _CASES:
        if name in _CANVASES and name.startswith(many):
            yield name, ""
    for mutation in MUTATIONS:
        yield "chord-apply_async", mutation


@pytest.mark.parametrize(("name", "mutation"), list(_unheard()))
def test_canvas_whose_sends_nobody_is_told_of(
    name: str, mutation: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages do not wait for each other; receivers may change them before."""
    if tiers.missing(tiers.TRAMPOLINE):
        pytest.skip(tiers.missing(tiers.TRAMPOLINE))
    monkeypatch.setattr(contract, "recorded_signals", lambda: nullcontext([]))
    with _connected(MUTATIONS[mutation]) if mutation else nullcontext():
        expected = _reference(name, server)
        with tripwire():
            found = observe(_CASES[name], TierStage(server, tiers.PLAN), twins=True)
    if found != expected:
        pytest.fail("\n".join(differences(expected, found)), pytrace=False)


@pytest.mark.parametrize("name", _PLANNED)
def test_plan_that_nobody_listens_to(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiers.missing(tiers.PLAN):
        pytest.skip(tiers.missing(tiers.PLAN))
    # The ids of an outcome are numbered as they appear: those of signals, too.
    monkeypatch.setattr(contract, "recorded_signals", lambda: nullcontext([]))
    expected = _reference(name, server)
    with tripwire():
        found = observe(_CASES[name], TierStage(server, tiers.PLAN), twins=True)
    if found != expected:
        pytest.fail("\n".join(differences(expected, found)), pytrace=False)
