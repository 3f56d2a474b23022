"""Looks that are under way: who still wants them, and which are late."""

from __future__ import annotations

from celery_async_bridge.drivers.redis.asks import Ask, Asks

__all__ = ()


def test_each_look_ends_for_itself() -> None:
    asks, first, second = Asks(), Ask(["a", "b"], 1.0), Ask(["b", "c"], 2.0)
    asks.add(first)
    asks.add(second)
    assert asks.end(first) == ["a", "b"]
    assert "a" not in asks
    assert "b" in asks
    assert asks.oldest == 2.0
    assert asks.end(second) == ["b", "c"]
    assert asks.end(second) == []
    assert asks.oldest is None


def test_who_has_left_wants_nothing() -> None:
    asks, ask = Asks(), Ask(["a", "b"], 1.0)
    asks.add(ask)
    asks.drop("a")
    asks.drop("never asked")
    again = Ask(["a"], 2.0)
    asks.add(again)
    # The first look came before who waits now.
    assert asks.end(ask) == ["b"]
    assert asks.end(again) == ["a"]


def test_what_is_late_is_taken_out() -> None:
    asks, old, new = Asks(), Ask(["a", "b"], 1.0), Ask(["b", "c"], 2.0)
    asks.add(old)
    asks.add(new)
    assert asks.take_late(0.9) == set()
    assert asks.take_late(1.0) == {"a", "b"}
    assert asks.oldest == 2.0
    assert asks.end(old) == []
    assert asks.end(new) == ["c"]
