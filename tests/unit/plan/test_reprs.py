"""The quick text of arguments is the text that Celery gives."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from celery.utils.saferepr import saferepr

from celery_async_bridge.plan.reprs import short_repr

_TEXTS = ["a", "b'", '"', "\\", "\n", "\t", "é", "€", "\U0001f600", " ", "{", ", ..."]


def _scalar(rnd: random.Random) -> Any:
    return rnd.choice(
        [
            rnd.randint(-(10**12), 10**12),
            rnd.random() * 10 ** rnd.randint(-20, 20),
            True,
            None,
            float("inf"),
            "".join(rnd.choices(_TEXTS, k=rnd.choice([0, 1, 5, 30, 200]))),
            b"bytes",
            Decimal("1.10"),
            {3},
        ]
    )


def _value(rnd: random.Random, depth: int) -> Any:
    if not depth or rnd.random() < 0.5:
        return _scalar(rnd)
    count = rnd.choice([0, 1, 2, 8])
    kind = rnd.choice([list, tuple, dict])
    if kind is not dict:
        return kind(_value(rnd, depth - 1) for _ in range(count))
    keys = [rnd.choice([f"k{n}", n, None, "q'", 1.5]) for n in range(count)]
    return {key: _value(rnd, depth - 1) for key in keys}


@pytest.mark.parametrize("seed", range(4))
def test_any_arguments(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(2500):
        value = tuple(_value(rnd, 4) for _ in range(rnd.choice([0, 1, 2, 5])))
        size = rnd.choice([1024, 1024, 30, 60, 100, 200])
        levels = rnd.choice([1, 2, 3, 3, 5])
        expected = saferepr(value, size, maxlevels=levels)
        assert short_repr(value, size, levels) == expected


class _Odd(int):
    def __str__(self) -> str:
        return "odd"


def _loop(length: int) -> tuple[Any, ...]:
    first: list[Any] = []
    last = first
    for n in range(length - 1):
        last.append({n: []})
        last = last[0][n]
    last.append(first)
    return (1, first)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_what_contains_itself(length: int, levels: int) -> None:
    value = _loop(length)
    assert short_repr(value, 1024, levels) == saferepr(value, 1024, maxlevels=levels)


@pytest.mark.parametrize(
    "value",
    [
        (_Odd(1),),
        ({"k": _Odd(2)},),
        (type("T", (tuple,), {})((1,)),),
        ("x" * 1022,),
        ("x" * 1020,),
        ("x" * 5000, 1),
        (list(range(5000)),),
        ((), [], {}),
        ([[[[]]]],),
        ({("a", 1): 2, (): 3},),
    ],
    ids=repr,
)
def test_edges(value: Any) -> None:
    assert short_repr(value, 1024, 3) == saferepr(value, 1024, maxlevels=3)


@pytest.mark.parametrize(("size", "levels"), [(None, 3), (1024, 0), (0, 3)])
def test_without_limits(size: int | None, levels: int) -> None:
    value = (1, {"a": ["b"]})
    assert short_repr(value, size, levels) == saferepr(value, size, maxlevels=levels)
