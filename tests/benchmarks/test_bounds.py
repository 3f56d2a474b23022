"""Bounds that need no other row, or compare two loads."""

from __future__ import annotations

from typing import Any

import pytest

from .bounds import Bound, judge, rows_of

__all__ = ()


def _record(**loads: dict[str, Any]) -> dict[str, Any]:
    return {"runs": {name: {"ours": [run]} for name, run in loads.items()}}


def _held(record: dict[str, Any], bound: Bound) -> bool:
    (verdict,) = judge(record, [bound])
    assert str(verdict).startswith("PASS" if verdict.held else "FAIL")
    return verdict.held


@pytest.mark.parametrize(("value", "held"), [(2.0, True), (2.1, False)])
def test_an_absolute_bound(value: float, held: bool) -> None:
    bound = Bound("race", "beyond", "ours", "", 1.0, floor=2.0)
    assert _held(_record(race={"beyond": value}), bound) is held
    assert not _held(_record(), bound)


@pytest.mark.parametrize(("value", "held"), [(0, True), (1, False)])
def test_nothing_at_all(value: int, held: bool) -> None:
    bound = Bound("race", "missing", "ours", "", 1.0)
    assert _held(_record(race={"missing": value}), bound) is held


@pytest.mark.parametrize(("rate", "held"), [(80.0, True), (79.0, False)])
def test_two_loads(rate: float, held: bool) -> None:
    bound = Bound("many", "rate", "ours", "ours", 0.8, least=True, beside="few")
    record = _record(many={"rate": rate}, few={"rate": 100.0})
    assert _held(record, bound) is held
    assert rows_of("few", [bound]) == rows_of("many", [bound]) == ["ours"]


@pytest.mark.parametrize(("figure", "held"), [("server", True), ("cpu", False)])
def test_one_lucky_round_of_a_server_says_nothing(figure: str, held: bool) -> None:
    runs = {
        "ours": [{figure: 3.0}] * 3,
        "other": [{figure: n} for n in (2.0, 3.0, 4.0)],
    }
    bound = Bound("many", figure, "ours", "other", 1.3)
    assert _held({"runs": {"many": runs}}, bound) is held
