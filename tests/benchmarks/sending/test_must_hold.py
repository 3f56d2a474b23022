"""The judge finds what is missed, what is missing, and what was not native."""

from __future__ import annotations

from typing import Any

import pytest

from ..bounds import Bound, judge, rows_of
from .must_hold import BOUNDS
from .report import table
from .rows import ROWS
from .scenario import SCENARIOS

__all__ = ()

_LOAD = "gather-small"


def _record(**rows: list[dict[str, Any]]) -> dict[str, Any]:
    load = SCENARIOS[_LOAD].to_dict()
    return {"runs": {_LOAD: rows}, "loads": {_LOAD: load}}


def _held(record: dict[str, Any], bound: Bound) -> bool:
    (verdict,) = judge(record, [bound])
    mark = "PASS" if verdict.held else "FAIL"
    assert str(verdict).startswith(mark)
    return verdict.held


@pytest.mark.parametrize(("cpu", "held"), [(2.0, True), (2.01, False)])
def test_upper_bound_takes_the_best_round(cpu: float, held: bool) -> None:
    record = _record(ours=[{"cpu": 9.0}, {"cpu": cpu}], limit=[{"cpu": 1.0}] * 2)
    assert _held(record, Bound(_LOAD, "cpu", "ours", "limit", 2.0)) is held


@pytest.mark.parametrize(("rate", "held"), [(200.0, True), (199.0, False)])
def test_lower_bound_takes_the_best_round(rate: float, held: bool) -> None:
    record = _record(ours=[{"rate": 1.0}, {"rate": rate}], saq=[{"rate": 100.0}])
    assert _held(record, Bound(_LOAD, "rate", "ours", "saq", 2.0, least=True)) is held


@pytest.mark.parametrize(("gap", "held"), [(0.25, True), (0.31, False)])
def test_floor_is_always_allowed(gap: float, held: bool) -> None:
    record = _record(ours=[{"gap": gap}], nothing=[{"gap": 0.01}])
    bound = Bound(_LOAD, "gap", "ours", "nothing", 3.0, floor=0.3)
    assert _held(record, bound) is held


@pytest.mark.parametrize(("gap", "held"), [(0.009, True), (0.010, False)])
def test_seconds_may_be_added(gap: float, held: bool) -> None:
    record = _record(ours=[{"gap_p99": gap}], nothing=[{"gap_p99": 0.001}])
    bound = Bound(_LOAD, "gap_p99", "ours", "nothing", 1.0, plus=0.008)
    assert _held(record, bound) is held


def test_row_that_failed_or_is_missing_is_missed() -> None:
    bound = Bound(_LOAD, "cpu", "ours", "limit", 2.0)
    assert not _held(_record(ours=[{"cpu": 1.0}]), bound)
    assert not _held(_record(ours=[{"error": "x"}], limit=[{"cpu": 1.0}]), bound)


def test_row_in_a_thread_is_missed() -> None:
    record = _record(ours=[{"cpu": 1.0, "tier": "thread"}], limit=[{"cpu": 1.0}])
    assert not _held(record, Bound(_LOAD, "cpu", "ours", "limit", 2.0))
    assert "adelay [thread]" in table(record)


def test_every_bound_names_what_there_is() -> None:
    for bound in BOUNDS:
        load = SCENARIOS[bound.load]
        assert ROWS[bound.row].fits(load)
        assert ROWS[bound.other].fits(load)
        assert {bound.row, bound.other} <= set(rows_of(bound.load, BOUNDS))
