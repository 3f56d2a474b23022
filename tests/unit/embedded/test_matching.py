"""Topics, headers and dead letters, as RabbitMQ reads them."""

from __future__ import annotations

import pytest

from celery_async_bridge.embedded import headers, topics
from celery_async_bridge.embedded.deaths import dead_letter, goes_round
from celery_async_bridge.embedded.message import Message


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.#", "a", True),
        ("#", "", True),
        ("*", "", False),
        ("", "", True),
        ("", "a", False),
        ("#.b.#", "a.b.c.b", True),
        ("#.#.b", "b", True),
        ("*.#.*", "a", False),
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
    ],
)
def test_topics(pattern: str, key: str, matches: bool) -> None:
    assert topics.matches(topics.words(pattern), topics.words(key)) is matches


@pytest.mark.parametrize(
    ("wanted", "has", "matches"),
    [
        ({}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"a": None}, {"a": "whatever"}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
    ],
)
def test_headers(
    wanted: dict[str, object], has: dict[str, object], matches: bool
) -> None:
    assert headers.matches(wanted, has) is matches


def test_second_death_of_the_same_kind_is_counted() -> None:
    first = Message("x", ("k",), {"expiration": "5"}, b"")
    one = dead_letter(first, "expired", "q", "dlx", None, 1.0)
    two = dead_letter(one, "rejected", "q", "dlx", None, 2.0)
    three = dead_letter(two, "expired", "q", "dlx", "other", 3.0)
    deaths = three.headers["x-death"]
    assert [(one["reason"], one["count"]) for one in deaths] == [
        ("expired", 2),
        ("rejected", 1),
    ]
    assert deaths[0]["original-expiration"] == "5"
    assert "expiration" not in three.properties
    assert three.headers["x-first-death-reason"] == "expired"
    assert three.keys == ("other",)
    assert first.headers == {}
    assert goes_round(one, "q")
    assert not goes_round(two, "q")
