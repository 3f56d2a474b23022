"""The same bytes, values, errors and signals beneath overrides, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from celery_async_bridge.testing.contract import case as contract
from celery_async_bridge.testing.contract.case import Case, observe
from celery_async_bridge.testing.contract.outcome import differences
from celery_async_bridge.testing.contract.wire import Server
from celery_async_bridge.testing.tripwire import tripwire
from tests import tiers
from tests.integration.tier_overrides import CHANGED, OVERRIDDEN, UnderStage
from tests.sweep import ignore_unclosed, sweep

pytestmark = ignore_unclosed


@pytest.fixture(scope="module")
def server(redis_server: str) -> Iterator[Server]:
    yield Server(redis_server, lambda run: {"global_keyprefix": f"{run}:"})
    sweep()


def _compare(case: Case, server: Server, tier: str) -> None:
    expected = observe(case, UnderStage(server, tiers.SYNC), twins=False)
    with tripwire():
        found = observe(case, UnderStage(server, tier), twins=True)
    if found != expected:
        lines = "\n".join(differences(expected, found))
        pytest.fail(f"{case.name} differs\n{lines}", pytrace=False)


def _ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("case", OVERRIDDEN, ids=_ids)
def test_sends_through_an_override(
    case: Case, heard: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiers.missing(tiers.PLAN):
        pytest.skip(tiers.missing(tiers.PLAN))
    if not heard:
        monkeypatch.setattr(contract, "recorded_signals", lambda: nullcontext([]))
    _compare(case, server, tiers.PLAN)


@pytest.mark.parametrize("case", CHANGED, ids=_ids)
def test_what_changes_between_two_sends_is_noticed(
    case: Case, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiers.missing(tiers.PLAN):
        pytest.skip(tiers.missing(tiers.PLAN))
    monkeypatch.setattr(contract, "recorded_signals", lambda: nullcontext([]))
    _compare(case, server, tiers.PLAN)
