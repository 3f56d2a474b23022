from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from celery_async_bridge.core import registry
from celery_async_bridge.core.registry import (
    GROUP,
    Driver,
    driver_for,
    forget,
    register,
    schemes,
    why_absent,
)

if TYPE_CHECKING:
    from celery_async_bridge.core.route import Endpoint


class Both:
    name = "both"
    sides = frozenset({"broker", "backend"})
    waits = sides
    pushes = frozenset[str]()
    suspends = False

    def takes(self, endpoint: Endpoint) -> bool:
        return True

    async def drain(self, connection: Any, timeout: float | None) -> Any: ...

    async def wait(self, backend: Any, task_id: str, timeout: float | None) -> Any: ...

    def feed(self, backend: Any, key: Any, looks: Any) -> Any: ...

    def status(self) -> list[dict[str, Any]]:
        return []

    def install(self) -> Any:
        return ()


class Broker(Both):
    sides = frozenset({"broker"})


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    forget("regtest")


def test_a_driver_serves_its_sides() -> None:
    assert driver_for("regtest", "broker") is None
    driver = Broker()
    assert isinstance(driver, Driver)
    register("regtest", driver)
    assert driver_for("regtest", "broker") is driver
    assert driver_for("regtest", "backend") is None
    assert schemes()["regtest"] is driver
    register("regtest", other := Both())
    assert driver_for("regtest", "backend") is other
    forget("regtest")
    forget("regtest")
    assert driver_for("regtest", "broker") is None


def test_schemes_is_a_copy() -> None:
    schemes()["regtest"] = Both()
    assert driver_for("regtest", "broker") is None


def test_entry_points_share_a_driver_and_yield_to_registered_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Point:
        def __init__(self, name: str) -> None:
            self.name = name
            self.value = "module:Both"

        def load(self) -> type[Both]:
            return Both

    def points(*, group: str) -> list[Point]:
        assert group == GROUP
        return [Point("one"), Point("two"), Point("mine")]

    mine = Both()
    monkeypatch.setattr(registry, "entry_points", points)
    monkeypatch.setattr(registry, "_drivers", {"mine": mine})
    monkeypatch.setattr(registry, "_points", {})
    monkeypatch.setattr(registry, "_listed", False)
    assert driver_for("one", "broker") is driver_for("two", "backend") is not None
    assert driver_for("mine", "broker") is mine


def test_a_driver_whose_client_is_not_installed_is_no_warning(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    class Point:
        name = "regtest"
        value = "module:Absent"

        def load(self) -> Any:
            raise ImportError("no module named regclient")

    def points(*, group: str) -> list[Point]:
        return [Point()]

    monkeypatch.setattr(registry, "entry_points", points)
    monkeypatch.setattr(registry, "_drivers", {})
    monkeypatch.setattr(registry, "_points", {})
    monkeypatch.setattr(registry, "_listed", False)
    monkeypatch.setattr(registry, "_absent", {})
    assert driver_for("regtest", "broker") is None
    assert "regclient" in why_absent("regtest")
    assert not recwarn.list
