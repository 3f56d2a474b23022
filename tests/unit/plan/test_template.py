"""The text of a message that a plan writes."""

from __future__ import annotations

from typing import Any

import pytest

from celery_async_bridge.plan import template


def _cycle(depth: int) -> list[Any]:
    top: list[Any] = []
    value = top
    for _ in range(depth):
        value.append([])
        value = value[0]
    value.append(top)
    return top


@pytest.mark.parametrize("depth", [0, 1, 50])
def test_a_value_in_itself_is_found_at_once(depth: int) -> None:
    with pytest.raises(ValueError, match="Circular reference"):
        template._quick_encode(([_cycle(depth)], {}))


def test_a_value_that_comes_twice_is_no_cycle() -> None:
    value = {"a": [1]}
    text = template._quick_encode(([value, value], {"x": value}))
    assert text == template.encode(([value, value], {"x": value}))
    assert template._quick_encode(([value], {})) == template.encode(([value], {}))


def test_what_fails_leaves_nothing_behind() -> None:
    value = [object()]
    for _ in range(2):
        with pytest.raises(TypeError):
            template._quick_encode((value, {}))
    value[:] = [1]
    assert template._quick_encode((value, {})) == "[[1], {}]"
