from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from celery_async_bridge.core.carry import (
    capture,
    register_carrier,
    unregister_carrier,
)


@pytest.fixture
def carried() -> Iterator[list[str]]:
    log: list[str] = []

    def carrier() -> Callable[[], AbstractContextManager[Any]]:
        log.append("looked")

        @contextmanager
        def enter() -> Iterator[None]:
            log.append("entered")
            try:
                yield
            finally:
                log.append("left")

        return enter

    def empty() -> None:
        log.append("nothing")

    register_carrier(carrier)
    register_carrier(carrier)
    register_carrier(empty)
    yield log
    unregister_carrier(carrier)
    unregister_carrier(carrier)
    unregister_carrier(empty)


def test_carriers_look_at_once_and_enter_later(carried: list[str]) -> None:
    fn = capture(lambda: carried.append("called"))
    assert carried == ["looked", "nothing"]
    fn()
    assert carried[2:] == ["entered", "called", "left"]
    fn()
    assert carried[5:] == ["entered", "called", "left"]


def test_errors_pass_and_leave(carried: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        capture(lambda: 1 / 0)()
    assert carried[-1] == "left"


def test_what_nobody_carries_is_called_as_it_is() -> None:
    def empty() -> None:
        return None

    def fn() -> int:
        return 3

    register_carrier(empty)
    try:
        assert capture(fn)() == 3
    finally:
        unregister_carrier(empty)
