"""Which results are kept on the spot: those that concern nobody but upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.backends.redis import RedisBackend
from celery.result import AsyncResult
from celery.utils import uuid

from celery_async_bridge.mixins.celery.result._settling import settles_at_once

__all__ = ()

DONE: dict[str, Any] = {"status": "SUCCESS", "result": 1, "children": []}


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app whose backend is never connected."""
    app = Celery("settling", set_as_current=False, backend="redis://127.0.0.1:1")
    yield app
    app.close()


def settles(app: Celery, cls: Any = AsyncResult, **meta: Any) -> bool:
    """Ask about a new result."""
    result = cls(uuid(), app=app)
    return settles_at_once(result, app.backend, {**DONE, **meta})


def test_a_plain_success_does(app: Celery) -> None:
    assert settles(app)


def test_neither_failures_nor_children_do(app: Celery) -> None:
    assert not settles(app, status="FAILURE")
    assert not settles(app, children=[[[uuid(), None], None]])


@pytest.mark.parametrize("count", [1, 2])
def test_who_has_asked_to_be_called_is(app: Celery, count: int) -> None:
    result: Any = AsyncResult(uuid(), app=app)
    for _ in range(count):
        result.on_ready.then(lambda _: None)
    assert not settles_at_once(result, app.backend, DONE)


class Own(AsyncResult):  # type: ignore[type-arg]
    """Has a way of its own to keep a result."""

    def _maybe_set_cache(self, meta: Any) -> Any:
        return super()._maybe_set_cache(meta)  # type: ignore[misc]


def test_overrides_do_not(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settles(app, Own)
    cls: Any = RedisBackend
    original: Callable[..., Any] = cls.on_result_fulfilled

    def patched(self: Any, result: Any) -> Any:
        return original(self, result)

    monkeypatch.setattr(RedisBackend, "on_result_fulfilled", patched)
    assert not settles(app)
