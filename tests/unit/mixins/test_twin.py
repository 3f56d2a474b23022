from __future__ import annotations

from typing import Any

import pytest

from celery_async_bridge.core.route import Endpoint, Route
from celery_async_bridge.mixins._twin import (
    Making,
    compound,
    enters,
    kind_of,
    leaf,
    makes,
)


class _Sync:
    """A class of upstream."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def _bridge_route(self, via: Any = None) -> Route:
        self.seen.append(("route", via))
        return Route(endpoints=(Endpoint("broker", "x", "twin", "x"),), deadline=5)

    def work(self, value: int = 1, channel: Any = None, entity: Any = None) -> Any:
        return value, channel, entity

    def manage(self) -> _Manager:
        return _Manager(self.seen)


class _Manager:
    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    def __enter__(self) -> _Manager:
        self._seen.append("in")
        return self

    def __exit__(self, *exc_info: object) -> bool:
        self._seen.append("out")
        return exc_info[0] is KeyError

    def close(self) -> None:
        self._seen.append("closed")


class _Twins(_Sync):
    @leaf
    async def awork(self, value: int = 1, channel: Any = None) -> Any:
        """."""

    @leaf(of="work", via="channel entity")
    async def aroute(
        self, value: int = 1, channel: Any = None, entity: Any = None
    ) -> Any:
        """."""

    @enters(of="manage")
    def aenter(self) -> Any:
        """."""

    @makes(of="manage")
    def amake(self) -> Any:
        """."""

    @compound("work", "leaf")
    async def aother(self) -> str:
        """."""
        return "by hand"


async def test_arguments_are_handed_on_as_they_were_written() -> None:
    twins: Any = _Twins()
    assert await twins.awork() == (1, None, None)
    assert await twins.awork(2, channel="c") == (2, "c", None)
    with pytest.raises(TypeError) as expected:
        twins.work(nonsense=1)
    with pytest.raises(TypeError) as raised:
        await twins.awork(nonsense=1)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "via"),
    [
        ((), {}, None),
        ((1, "c"), {}, "c"),
        ((1,), {"channel": "c", "entity": "e"}, "c"),
        ((1, None, "e"), {}, "e"),
        ((), {"entity": "e"}, "e"),
    ],
)
async def test_an_argument_may_decide_the_route(
    args: tuple[Any, ...], kwargs: dict[str, Any], via: Any
) -> None:
    twins: Any = _Twins()
    assert await twins.aroute(*args, **kwargs) == twins.work(*args, **kwargs)
    assert twins.seen == [("route", via)]


def _steps(twins: Any) -> list[Any]:
    return [step for step in twins.seen if isinstance(step, str)]


async def test_what_is_entered_by_await_and_by_async_with() -> None:
    twins: Any = _Twins()
    assert isinstance(await twins.aenter(), _Manager)
    assert _steps(twins) == ["in"]
    async with twins.aenter():
        raise KeyError  # the manager swallows it
    assert _steps(twins) == ["in", "in", "out"]


async def test_what_is_made_is_entered_by_async_with_alone() -> None:
    twins: Any = _Twins()
    making = twins.amake()
    assert isinstance(making, Making)
    assert isinstance(await making, _Manager)
    assert _steps(twins) == []
    async with twins.amake() as manager:
        assert isinstance(manager, _Manager)
        raise KeyError
    assert _steps(twins) == ["in", "out"]


async def test_marks() -> None:
    marks = {
        name: (mark.kind, mark.of)
        for name in vars(_Twins)
        if (mark := kind_of(vars(_Twins)[name])) is not None
    }
    assert marks == {
        "awork": ("leaf", "work"),
        "aroute": ("leaf", "work"),
        "aenter": ("enter", "manage"),
        "amake": ("make", "manage"),
        "aother": ("leaf", "work"),
    }
    assert await _Twins().aother() == "by hand"
