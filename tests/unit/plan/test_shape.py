"""Which sends share a plan."""

from __future__ import annotations

from typing import Any

import pytest

from celery_async_bridge.plan.shape import BARE, shape_of


@pytest.mark.parametrize(
    "options",
    [{}, {"task_id": "a"}, {"link": None, "headers": {}, "countdown": 0, "eta": None}],
)
def test_what_says_nothing_is_the_bare_shape(options: dict[str, Any]) -> None:
    assert shape_of(options) == BARE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"priority": 1}, {"priority": True}),
        ({"priority": 1}, {"priority": 2}),
        ({"countdown": 1}, {"eta": 1}),
        ({"queue": "a"}, {"routing_key": "a"}),
    ],
)
def test_shapes_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert shape_of(one) != shape_of(other)


def test_values_of_slots_do_not_count() -> None:
    assert shape_of({"countdown": 5}) == shape_of({"countdown": 7})


@pytest.mark.parametrize(
    "options",
    [
        {"producer": object()},
        {"connection": object()},
        {"queue": object()},
        {"expires": "2030-01-01"},
        {"stamped_headers": ["a"], "a": 1},
        {"headers": [("a", 1)]},
        {"retry_policy": {}},
        {"compression": "zlib"},
        {"chain": []},
        {"": ()},
        {"task_id": 7},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_only_upstream_can_send(options: dict[str, Any]) -> None:
    assert shape_of(options) is None
