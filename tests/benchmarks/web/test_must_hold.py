"""The bounds compare what is measured."""

from __future__ import annotations

from ..bounds import rows_of
from .must_hold import BOUNDS
from .rows import ROWS
from .scenario import LOADS, QUICK, loads

__all__ = ()


def test_each_row_of_a_bound_is_measured_at_its_load() -> None:
    assert {bound.load for bound in BOUNDS} == set(LOADS)
    for load in LOADS:
        assert {row for row in ROWS if load in ROWS[row].loads} >= {
            *rows_of(load, BOUNDS)
        }


def test_a_quick_run_is_shorter() -> None:
    ((quick,), (whole,)) = (loads(["one"], short) for short in (True, False))
    assert quick.seconds * QUICK == whole.seconds
    assert quick.clients == whole.clients == 50
